"""The outer loop: improves meta_params on episodes, measures development classes, resumes after interruption."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, _foreach_lerp_  # pyright: ignore[reportPrivateImportUsage]

from meta_models import checkpoint, jsonl
from meta_models.algorithms import Algorithm, InnerSettings, Tensors
from meta_models.checkpoint import CHECKPOINT, TrainState
from meta_models.evaluate import Accuracy, Classifier, evaluate_all, pool_features
from meta_models.memory import keep_freed_memory
from meta_models.outer_step import Learner
from meta_models.recipe import Recipe
from meta_models.same_run import keep_to_one
from meta_models.splits import Pools, Splits
from meta_models.teacher import Teacher
from meta_models.torch_model import TorchModel, build_algorithm

LOG = "log.jsonl"

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
    progress: float | None = None,
) -> TorchModel:
    """Run the recipe's outer loop, or what is left of it, in folder `run`.

    Args:
        recipe: what to do.
        splits: from `load_splits`; test classes are not touched.
        run: holds the checkpoint, the log, what both are of, and nothing else that matters.
        start: meta_params to begin from, for a recipe with `initialize_from`. A run to be `taught_by` is looked for
            beside `run`.
        device: `cuda` where there is one unless told otherwise.
        on_progress: told every few steps.
        progress: what algorithms with schedules are told at every step, from 0 to 1; unless given, as far as it is.

    Returns:
        The averaged meta_params.

    Raises:
        ValueError: the checkpoint in `run` is of another recipe, of other classes or began from other weights; or
            `start` does not fit the backbone; or training diverged.
    """
    keep_to_one(run, recipe, splits, start)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    keep_freed_memory()
    torch.manual_seed(recipe.outer.seed)
    algorithm = build_algorithm(recipe.algorithm, recipe.backbone, recipe.input.shape)
    state = _begin_or_resume(algorithm, start, run, place)
    if place.type == "cuda" and state.step < recipe.outer.steps:
        state.hardware = torch.cuda.get_device_name(place)
    state.meta_params = _channels_last(state.meta_params)
    algorithm.backbone.to(place)
    teacher = Teacher.of_run(run.parent / recipe.taught_by, recipe, run, place) if recipe.taught_by else None
    learners = _learners(algorithm, recipe, state, splits, teacher, progress)
    began, recent = time.monotonic() - state.seconds, _Recent(state.recent, place)
    torch.backends.cudnn.benchmark = True
    told = 1 if place.type == "cpu" else 50  # to look is to wait for the device

    if (state.step or not recipe.outer.steps) and not _is_logged(run / LOG, state.step):
        # A kill came between checkpoint and line; or a baseline, which learns nothing beforehand.
        _record(algorithm, state, recent, splits.development, recipe, run, place)
    while state.step < recipe.outer.steps:
        watched = [learner.step(state.step) for learner in learners]
        state.step += 1
        state.seconds = time.monotonic() - began
        _average(state, min(recipe.outer.average, (1 + state.step) / (10 + state.step)))
        recent.add(*watched[0])
        if on_progress and state.step % told == 0:
            figures = recent.figures()
            _check_finite(figures.values(), state.step, run)
            on_progress(state.step, figures)
        if state.step % recipe.development.every == 0 or state.step == recipe.outer.steps:
            state.moments = {name: t for learner in learners for name, t in learner.moments().items()}
            _record(algorithm, state, recent, splits.development, recipe, run, place)
    return TorchModel(algorithm, {k: v.detach() for k, v in state.average.items()}, place)


def _learners(
    algorithm: Algorithm,
    recipe: Recipe,
    state: TrainState,
    splits: Splits,
    teacher: Teacher | None,
    progress: float | None,
) -> list[Learner]:
    """Who learns from training classes and, where the recipe wants it, who from development classes, with the moments
    that were saved."""
    outer = recipe.outer
    apart = {name for name in state.meta_params if name.startswith(outer.from_development)}
    trained = [n for n in state.meta_params if _is_trained(n) and not n.startswith(outer.frozen)]
    halves = (
        ([n for n in trained if n not in apart], splits.train, outer.outer_lr, outer.weight_decay),
        ([n for n in trained if n in apart], splits.development, outer.development_lr, 0.0),
    )
    learners = [Learner(algorithm, recipe, state.meta_params, *half, teacher, progress) for half in halves if half[0]]
    for key, value in state.moments.items():
        name, moment = key.rsplit("/", 1)
        [learner] = [one for one in learners if name in one.tensors]
        learner.optimizer.state[learner.tensors[name]][moment] = value
    return learners


def _record(
    algorithm: Algorithm,
    state: TrainState,
    recent: _Recent,
    development: Pools,
    recipe: Recipe,
    run: Path,
    place: torch.device,
) -> None:
    """Checkpoint, then measure on development classes and log."""
    state.recent = recent.means()
    norms = torch.stack([t.detach().float().norm() for t in state.average.values()])  # read from the device at once
    _check_finite([*state.recent, *norms.tolist()], state.step, run)
    checkpoint.save(state, run / CHECKPOINT)
    model = TorchModel(algorithm, {k: v.detach() for k, v in state.average.items()}, place)
    figures = development_accuracy(model, recipe, development)
    line = {"step": state.step, "seconds": round(state.seconds, 1), **recent.figures(), **figures}
    jsonl.write(run / LOG, [*jsonl.read(run / LOG), line])


def _check_finite(figures: Iterable[float], step: int, run: Path) -> None:
    """Whether losses or sizes of weights are numbers still: what is not must replace no checkpoint."""
    for figure in figures:
        if not math.isfinite(figure):
            raise ValueError(
                f"step {step}: training diverged, its loss or weights are {figure}; lower outer_lr in the recipe, and "
                f"remove {run} to begin again"
            )


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


def _is_trained(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var"))


def _begin_or_resume(algorithm: Algorithm, start: Tensors | None, run: Path, device: torch.device) -> TrainState:
    fresh = algorithm.init()
    if (run / CHECKPOINT).exists():
        state = checkpoint.load(run / CHECKPOINT, device)
        # In the order and the alignment of a run that never stopped: sums of gradients and kernels depend on them.
        state.meta_params, state.average = (
            {name: of[name].clone() for name in fresh} for of in (state.meta_params, state.average)
        )
        return state
    if start:
        _check_fits(start, fresh)
    fresh = {name: (start or {}).get(name, t).to(device, copy=True) for name, t in fresh.items()}
    return TrainState(0, 0.0, fresh, {name: t.clone() for name, t in fresh.items()}, {})


def _check_fits(start: Tensors, fresh: Tensors) -> None:
    backbone = [name for name in fresh if name.startswith("backbone.")]
    if backbone and not any(name in start for name in backbone):
        raise ValueError(
            "nothing that initialize_from names fits this backbone: give the recipe the backbone of those weights, "
            "or leave initialize_from out"
        )
    for name in (name for name in fresh if name in start and start[name].shape != fresh[name].shape):
        raise ValueError(
            f"{name} is {tuple(start[name].shape)} in the weights that initialize_from names and "
            f"{tuple(fresh[name].shape)} in this recipe: give it the same backbone, or leave initialize_from out"
        )


def _channels_last(tensors: Tensors) -> Tensors:
    """Twice as fast for convolutions in bfloat16 on CPU."""
    return {name: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for name, t in tensors.items()}


@torch.no_grad()
def _average(state: TrainState, decay: float) -> None:
    names = list(state.meta_params)
    _foreach_lerp_([state.average[n] for n in names], [state.meta_params[n] for n in names], 1 - decay)


class _Recent:
    """Running means of the last steps, for people to watch; read from the device only when they look."""

    def __init__(self, means: list[float], device: torch.device) -> None:
        """`means` are those of an earlier part of the run, if any."""
        self._figures = torch.tensor(means, device=device) if means else None

    def add(self, loss: Tensor, accuracy: Tensor) -> None:
        new = torch.stack([loss, accuracy])
        self._figures = new if self._figures is None else 0.98 * self._figures + 0.02 * new

    def means(self) -> list[float]:
        """Of loss and accuracy; none before the first step."""
        return [] if self._figures is None else self._figures.tolist()

    def figures(self) -> dict[str, float]:
        return {name: round(mean, 4) for name, mean in zip(("loss", "accuracy"), self.means(), strict=False)}


def _is_logged(path: Path, step: int) -> bool:
    return any(line["step"] == step for line in jsonl.read(path))
