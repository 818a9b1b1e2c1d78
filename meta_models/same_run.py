"""What a run is of, kept in its folder: weights of one recipe and one set of classes never go on as another's, nor in
two processes at once."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from meta_models.algorithms import Tensors
from meta_models.checkpoint import CHECKPOINT, CLASSES, RECIPE
from meta_models.recipe import Recipe
from meta_models.splits import Pools, Splits

LEARNED_FROM = "classes to learn from"
NOT_LEARNED = ("name", "version", "description", "development", "search", "beside_paper", "small_body")
AFTERWARDS = ("outer.blend", "outer.all_classes_steps")
ONCE_LEARNED = ("mirror", "roots", "tangents", "hubs")
"""Of a recipe and of its algorithm's options: what the outer loop's weights do not depend on, though the published
folder may."""


@contextmanager
def locked(folder: Path, *, wait: bool = True) -> Generator[None]:
    """No other process that asks so has `folder`, which is made, meanwhile; the system forgets that with the process.

    Raises:
        BlockingIOError: another one has it, and this one does not `wait`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(opened)


@contextmanager
def alone_in(run: Path) -> Generator[None]:
    """No other process works in folder `run` meanwhile.

    Raises:
        ValueError: another one does.
    """
    with ExitStack() as held:
        try:
            held.enter_context(locked(run, wait=False))
        except BlockingIOError as error:
            raise ValueError(
                f"another process is meta-training in {run}, and both would write the same files; "
                "wait for it, or give another --name"
            ) from error
        yield


def keep_to_one(run: Path, recipe: Recipe, splits: Splits, start: Tensors | None = None) -> None:
    """Write down in folder `run` what it is of; where it has a checkpoint, compare instead, as far as the folder tells.

    Raises:
        ValueError: the checkpoint is of another recipe, of other classes or began from other weights.
    """
    now = recipe.model_dump(mode="json")
    # Embeddings are computed, and come out a little different on another machine.
    exact = recipe.data.name != "vectors"
    learned_from = {
        LEARNED_FROM: _digest(splits.train, exact),
        "classes to choose by": _digest(splits.development, exact),
        **({"weights to begin from": _weights(start)} if start else {}),
    }
    if not (run / CHECKPOINT).exists():
        run.mkdir(parents=True, exist_ok=True)
        (run / RECIPE).write_text(json.dumps(now, indent=1))
        (run / CLASSES).write_text(json.dumps(learned_from, indent=1))
        return
    changed = _changed(_deciding(_read(run / RECIPE)), _deciding(now)) + _changed(_read(run / CLASSES), learned_from)
    if changed:
        raise ValueError(
            f"the weights in {run} were learned otherwise than is asked for now: {'; '.join(changed)}. "
            f"Give another --name, or remove {run} to begin again"
        )


def learn_from_the_same(run: Path, other: Path) -> bool:
    """Whether two runs learn from the same classes in the same order, as far as their folders tell."""
    here, there = (_read(folder / CLASSES).get(LEARNED_FROM) for folder in (run, other))
    return here is None or there is None or here == there


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove {path.parent} to begin again") from error


def _deciding(recipe: dict[str, Any]) -> dict[str, Any]:
    """What decides the weights. Parts whose members the recipe's own types name are taken apart: a run may be older
    than a member."""
    told: dict[str, Any] = {}
    for key, value in recipe.items():
        if key == "algorithm":
            value = {option: one for option, one in value.items() if option not in ONCE_LEARNED}
        taken_apart = key in ("input", "data", "outer")
        told |= {f"{key}.{member}": one for member, one in value.items()} if taken_apart else {key: value}
    return {key: value for key, value in told.items() if key not in (*NOT_LEARNED, *AFTERWARDS)}


def _changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [
        f"{key}: then {json.dumps(before[key])}, now {json.dumps(value)}"
        for key, value in now.items()
        if key in before and before[key] != value
    ]


def _weights(start: Tensors) -> str:
    """sha256 of the backbone's; what else there is may be computed, and come out a little different elsewhere."""
    sha256 = hashlib.sha256()
    for name in sorted(name for name in start if name.startswith("backbone.")):
        sha256.update(name.encode() + start[name].detach().float().cpu().contiguous().numpy().tobytes())
    return sha256.hexdigest()[:16]


def digest(pools: Pools) -> str:
    """Of classes and every one of their examples."""
    return _digest(pools, exact=True)["sha256"]


def _digest(pools: Pools, exact: bool) -> dict[str, Any]:
    """Sizes and sha256 of classes by name, group and examples; of these only number and shape unless `exact`."""
    sha256, n_examples = hashlib.sha256(), 0
    for pool in pools:
        for name, group, rows in zip(pool.class_names, pool.class_groups, pool.class_examples, strict=True):
            sha256.update(json.dumps([name, int(group), len(rows), pool.inputs.shape[1:]]).encode())
            if exact:
                sha256.update(pool.inputs[rows].tobytes())
            n_examples += len(rows)
    return {
        "classes": sum(pool.n_classes for pool in pools),
        "examples": n_examples,
        "sha256": sha256.hexdigest()[:16],
    }
