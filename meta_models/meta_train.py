"""The outer loop: improves meta_params on episodes, measures development classes, resumes after interruption."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from meta_models import checkpoint
from meta_models.algorithms import Algorithm, Episode, InnerSettings, Tensors, meta_loss
from meta_models.augment import AugmentSpec, apply_symmetry, random_affine
from meta_models.augment_sound import SoundAugmentSpec, random_sound, turned
from meta_models.augment_text import TextAugmentSpec, change_names
from meta_models.checkpoint import TrainState
from meta_models.episodes import N_SYMMETRIES, sample_episode
from meta_models.evaluate import Accuracy, Classifier, evaluate_all, pool_features
from meta_models.inputs import TextSpec
from meta_models.memory import keep_freed_memory
from meta_models.recipe import Outer, Recipe
from meta_models.sources import Pools, Splits
from meta_models.torch_model import TorchModel, as_floats, build_algorithm

CHECKPOINT, LOG, BEST = "checkpoint.safetensors", "log.jsonl", "best.json"

OnProgress = Callable[[int, dict[str, float]], None]
"""Called with (steps done, latest figures)."""


def meta_train(
    recipe: Recipe,
    splits: Splits,
    run: Path,
    *,
    start: Tensors | None = None,
    device: str | None = None,
    on_progress: OnProgress | None = None,
) -> TorchModel:
    """Run the recipe's outer loop, or what is left of it, in folder `run`.

    Args:
        recipe: what to do.
        splits: from `load_splits`; test classes are not touched.
        run: holds the checkpoint, the log and nothing else that matters.
        start: meta_params to begin from, for a recipe with `initialize_from`.
        device: `cuda` where there is one unless told otherwise.
        on_progress: told every few steps.

    Returns:
        The averaged meta_params.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    keep_freed_memory()
    torch.manual_seed(recipe.outer.seed)
    algorithm = build_algorithm(recipe.algorithm, recipe.backbone, recipe.input.shape)
    run.mkdir(parents=True, exist_ok=True)
    (run / "recipe.json").write_text(recipe.model_dump_json(indent=1))
    state = _begin_or_resume(algorithm, start, run, place)
    state.meta_params = _channels_last(state.meta_params)
    learners = _learners(state, splits, recipe.outer)
    algorithm.backbone.to(place)
    began, recent = time.monotonic() - state.seconds, _Recent()

    while state.step < recipe.outer.steps:
        watched = [_outer_step(algorithm, state, learner, recipe, place) for learner in learners]
        state.step += 1
        state.seconds = time.monotonic() - began
        _average(state, min(recipe.outer.average, (1 + state.step) / (10 + state.step)))
        recent.add(*watched[0])
        if on_progress:
            on_progress(state.step, recent.figures())
        if state.step % recipe.development.every == 0 or state.step == recipe.outer.steps:
            state.moments = {name: t for learner in learners for name, t in learner.moments().items()}
            _record(algorithm, state, recent.figures(), splits.development, recipe, run, place)
    if recipe.outer.steps == 0:  # a baseline that learns nothing beforehand
        _record(algorithm, state, {}, splits.development, recipe, run, place)
    return TorchModel(algorithm, {k: v.detach() for k, v in state.average.items()}, place)


@dataclass(frozen=True)
class _Learner:
    """Tensors that learn from the same pools of classes, with their optimizer."""

    tensors: Tensors
    pools: Pools
    lr: float
    optimizer: torch.optim.Adam

    def moments(self) -> Tensors:
        return {
            f"{name}/{key}": value
            for name, parameter in self.tensors.items()
            for key, value in self.optimizer.state.get(parameter, {}).items()
        }


def _learners(state: TrainState, splits: Splits, outer: Outer) -> list[_Learner]:
    """Who learns from training classes and, where the recipe wants it, who from development classes, with the moments
    that were saved."""
    apart = {name for name in state.meta_params if name.startswith(outer.from_development)}
    trained = [n for n in state.meta_params if _is_trained(n) and not n.startswith(outer.frozen)]
    halves = (
        ([n for n in trained if n not in apart], splits.train, outer.outer_lr, outer.weight_decay),
        ([n for n in trained if n in apart], splits.development, outer.development_lr, 0.0),
    )
    learners: list[_Learner] = []
    for names, pools, lr, decay in halves:
        if names:
            tensors = {name: state.meta_params[name].requires_grad_() for name in names}
            optimizer = torch.optim.Adam(tensors.values(), lr=lr, weight_decay=decay)
            learners.append(_Learner(tensors, pools, lr, optimizer))
    for key, value in state.moments.items():
        name, moment = key.rsplit("/", 1)
        [learner] = [one for one in learners if name in one.tensors]
        learner.optimizer.state[learner.tensors[name]][moment] = value
    return learners


def _record(
    algorithm: Algorithm,
    state: TrainState,
    recent: dict[str, float],
    development: Pools,
    recipe: Recipe,
    run: Path,
    place: torch.device,
) -> None:
    """Checkpoint, then measure on development classes and log."""
    checkpoint.save(state, run / CHECKPOINT)
    model = TorchModel(algorithm, {k: v.detach() for k, v in state.average.items()}, place)
    figures = development_accuracy(model, recipe, development)
    _log(run / LOG, {"step": state.step, "seconds": round(state.seconds, 1), **recent, **figures})


def development_accuracy(model: TorchModel, recipe: Recipe, pools: Pools) -> dict[str, float]:
    """Accuracy on development episodes for each (n_way, n_shot) of the recipe."""
    return {
        f"{n_way}w{n_shot}s": accuracy.mean
        for (n_way, n_shot), accuracy in zip(
            recipe.development.settings, evaluate_settings(model, recipe, pools, seed=1), strict=True
        )
    }


def evaluate_settings(
    model: Classifier, recipe: Recipe, pools: Pools, seed: int, inner: InnerSettings | None = None
) -> list[Accuracy]:
    """Accuracy on development episodes for each (n_way, n_shot) of the recipe."""
    features = [pool_features(model, pool) for pool in pools]
    n = recipe.development.n_episodes
    return [
        evaluate_all(model, pools, recipe.development_spec(n_way, n_shot), n, seed, inner, features)
        for n_way, n_shot in recipe.development.settings
    ]


def to_episode(pools: Pools, recipe: Recipe, number: int, device: torch.device) -> Episode:
    """Training episode `number`; pools and kinds of episodes take turns; what is seen or heard is augmented."""
    pool = pools[number % len(pools)]
    specs = recipe.episode_specs
    spec = specs[number // len(pools) % len(specs)].for_pool(pool)
    rows = sample_episode(pool, spec, recipe.outer.seed, number)
    generator = torch.Generator().manual_seed(recipe.outer.seed * 1_000_003 + number)
    n_way, n_shot, n_query = rows.n_way, rows.support.shape[1], rows.query.shape[1]
    order = np.concatenate([rows.support.ravel(), rows.query.ravel()])
    inputs = as_floats(torch.from_numpy(pool.inputs[order]).to(device))
    turns = torch.from_numpy(np.concatenate([rows.symmetry.repeat(n_shot), rows.symmetry.repeat(n_query)])).to(device)
    augment = recipe.augment_spec
    if isinstance(augment, SoundAugmentSpec):
        inputs = random_sound(turned(inputs, turns), augment, generator)
    elif isinstance(augment, AugmentSpec) and inputs.ndim == 4:
        inputs = random_affine(apply_symmetry(inputs, turns), augment, generator)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    classes = torch.arange(n_way, device=device)
    n_support = n_way * n_shot
    support = inputs[:n_support]
    if isinstance(augment, TextAugmentSpec) and isinstance(recipe.input, TextSpec):
        support = change_names(support, n_shot, recipe.input.max_tokens, augment, generator)
    return Episode(
        support,
        torch.from_numpy(rows.support_labels.ravel()).to(device),
        inputs[n_support:],
        classes.repeat_interleave(n_query),
        n_way,
        torch.from_numpy(rows.classes * N_SYMMETRIES + rows.symmetry).to(device),
    )


def _outer_step(
    algorithm: Algorithm,
    state: TrainState,
    learner: _Learner,
    recipe: Recipe,
    device: torch.device,
) -> tuple[float, float]:
    """One step on a batch of episodes; returns mean query loss and accuracy."""
    for group in learner.optimizer.param_groups:
        group["lr"] = learner.lr * _schedule(state.step, recipe.outer)
    learner.optimizer.zero_grad(set_to_none=True)
    learning = list(learner.tensors.values())
    size, total, correct = recipe.outer.meta_batch_size, 0.0, 0.0
    for i in range(size):
        episode = to_episode(learner.pools, recipe, state.step * size + i, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.outer.precision == "bfloat16"):
            progress = state.step / recipe.outer.steps
            loss, accuracy = meta_loss(algorithm, state.meta_params, episode, training=True, progress=progress)
        (loss / size).backward(inputs=learning)
        total, correct = total + float(loss.detach()) / size, correct + float(accuracy) / size
    torch.nn.utils.clip_grad_norm_(learning, 10.0)
    learner.optimizer.step()
    return total, correct


def _schedule(step: int, outer: Outer) -> float:
    """Share of `outer_lr` at a step: linear warm-up over 100 steps, half cosine, linear cool-down."""
    warm = min(1.0, (step + 1) / 100)
    cosine = 0.5 * (1 + math.cos(math.pi * step / (outer.horizon or outer.steps)))
    cool = min(1.0, (outer.steps - step) / outer.cooldown) if outer.cooldown else 1.0
    return warm * cosine * cool


def _is_trained(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var"))


def _begin_or_resume(algorithm: Algorithm, start: Tensors | None, run: Path, device: torch.device) -> TrainState:
    if (run / CHECKPOINT).exists():
        return checkpoint.load(run / CHECKPOINT, device)
    fresh = {name: (start or {}).get(name, t).to(device) for name, t in algorithm.init().items()}
    return TrainState(0, 0.0, fresh, {name: t.clone() for name, t in fresh.items()}, {})


def _channels_last(tensors: Tensors) -> Tensors:
    """Twice as fast for convolutions in bfloat16 on CPU."""
    return {name: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for name, t in tensors.items()}


@torch.no_grad()
def _average(state: TrainState, decay: float) -> None:
    for name, value in state.meta_params.items():
        state.average[name].lerp_(value, 1 - decay)


class _Recent:
    """Running means of the last steps, for people to watch."""

    def __init__(self) -> None:
        self._loss: float | None = None
        self._accuracy = 0.0

    def add(self, loss: float, accuracy: float) -> None:
        keep = 0.98 if self._loss is not None else 0.0
        self._loss = keep * (self._loss or 0.0) + (1 - keep) * loss
        self._accuracy = keep * self._accuracy + (1 - keep) * accuracy

    def figures(self) -> dict[str, float]:
        return {"loss": round(self._loss or 0.0, 4), "accuracy": round(self._accuracy, 4)}


def _log(path: Path, line: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
