"""From a recipe to a published folder: train, choose on development classes, export, calibrate, measure, publish."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from meta_models import checkpoint
from meta_models.algorithms import InnerSettings
from meta_models.calibrate import calibrate
from meta_models.catalogue import ZOO
from meta_models.datasets import ClassPool, load_omniglot
from meta_models.episodes import EpisodeSpec
from meta_models.evaluate import Accuracy, evaluate
from meta_models.manifest import META_PARAMS_FILE, Figure, Manifest, Training
from meta_models.meta_train import CHECKPOINT, OnProgress, Splits, meta_train, split
from meta_models.plots import plot_log
from meta_models.publish import ServingPath, export, write_manifest
from meta_models.recipe import Recipe
from meta_models.serving import ServedModel
from meta_models.torch_model import TorchModel, build_algorithm

SETTINGS = ((5, 1), (5, 5), (20, 1), (20, 5))
N_QUERY = 15
TEST_SEED = 20_000
SEARCH_LOG = "search.jsonl"

Say = Callable[[str], None]
"""Told each finished stage in words."""


def produce(
    recipe: Recipe,
    data: Path,
    run: Path,
    *,
    zoo: Path = ZOO,
    episodes: int | None = None,
    device: str | None = None,
    say: Say = print,
    on_progress: OnProgress | None = None,
) -> Manifest:
    """Run everything a recipe asks for; what is done already is not done again.

    Args:
        recipe: what to make.
        data: folder of the data set, filled where it is empty.
        run: folder of checkpoint, logs and plots.
        zoo: where the published folder goes, as `zoo/<name>`.
        episodes: test episodes a figure; by default 10,000, or 1,000 where every episode costs gradient steps.
        device: where to train.
        say, on_progress: told what happens.

    Raises:
        PublishError: the graphs disagree with torch or the card lacks a figure.
    """
    splits = split(load_omniglot(data), recipe)
    say(
        f"{recipe.name}: {splits.train.n_classes} classes to learn from, "
        f"{splits.development.n_classes} to choose by, {splits.test.n_classes} to report"
    )
    start = load_file(zoo / recipe.initialize_from / META_PARAMS_FILE) if recipe.initialize_from else None
    model = meta_train(recipe, splits, run, start=start, device=device, on_progress=on_progress)
    plot_log(run)
    model, recipe, notes = _choose_inner(model, recipe, splits.development, run, say)
    folder = zoo / recipe.name
    manifest = export(model, recipe, _training(recipe, run, notes), folder)
    say("graphs agree with torch")
    path = ServingPath(ServedModel(folder, manifest), TorchModel.load(folder, manifest))
    manifest = manifest.model_copy(
        update={
            "calibration": calibrate(path, splits.development, 1000 if path.shares_body else 50, seed=2),
            "benchmarks": _figures(path, recipe, splits, episodes or (10_000 if path.shares_body else 1_000), say),
        }
    )
    write_manifest(manifest, folder)
    say(f"published {manifest.reference} in {folder}")
    return manifest


def _choose_inner(
    model: TorchModel, recipe: Recipe, pool: ClassPool, run: Path, say: Say
) -> tuple[TorchModel, Recipe, str]:
    """Steps and step size by development accuracy; the log keeps everything that was tried."""
    if not recipe.search.inner_steps:
        return model, recipe, ""
    n_way, n_shot = recipe.development.settings[0]
    spec = recipe.development_spec(n_way, n_shot)
    tried: list[tuple[Accuracy, InnerSettings]] = []
    with (run / SEARCH_LOG).open("w") as log:
        for steps in recipe.search.inner_steps:
            # At zero steps the step size means nothing: try it once.
            for rate in recipe.search.inner_lr if steps else recipe.search.inner_lr[:1]:
                inner = InnerSettings(steps, rate)
                accuracy = evaluate(model, pool, spec, recipe.development.n_episodes, seed=3, inner=inner)
                tried.append((accuracy, inner))
                line = {"inner_steps": steps, "inner_lr": rate, "accuracy": accuracy.mean, "ci95": accuracy.ci95}
                log.write(json.dumps({"n_way": n_way, "n_shot": n_shot, **line}) + "\n")
                log.flush()
                say(f"{steps} steps of {rate}: {accuracy} on development episodes")
    best, chosen = max(tried, key=lambda t: t[0].mean)
    zero = next((accuracy for accuracy, inner in tried if inner.inner_steps == 0), None)
    notes = f"Development {n_way}w{n_shot}s with {chosen.inner_steps} inner steps: {best}; with 0 steps: {zero}."
    algorithm = {**recipe.algorithm, "inner": {"inner_steps": chosen.inner_steps, "inner_lr": chosen.inner_lr}}
    recipe = recipe.model_copy(update={"algorithm": algorithm})
    rebuilt = build_algorithm(recipe.algorithm, recipe.backbone, recipe.input.shape)
    return TorchModel(rebuilt, model.meta_params, model.device), recipe, notes


def _figures(path: ServingPath, recipe: Recipe, splits: Splits, episodes: int, say: Say) -> tuple[Figure, ...]:
    """Accuracy on test classes, which nothing above has seen."""
    inner = path.torch_model.algorithm.inner
    figures: list[Figure] = []
    for protocol, pool, within in _protocols(recipe, splits):
        for n_way, n_shot in SETTINGS:
            spec = EpisodeSpec(n_way, n_shot, N_QUERY, within_group=within)
            accuracy = evaluate(path, pool, spec, episodes, TEST_SEED)
            say(f"{protocol} {n_way}w{n_shot}s: {accuracy}")
            figures.append(
                Figure(
                    protocol=protocol,
                    n_way=n_way,
                    n_shot=n_shot,
                    n_query=N_QUERY,
                    accuracy=round(100 * accuracy.mean, 2),
                    ci95=round(100 * accuracy.ci95, 2),
                    episodes=episodes,
                    seed=TEST_SEED,
                    inner_steps=inner.inner_steps if inner else None,
                    command=f"innerloop meta-train {recipe.name}",
                )
            )
    return tuple(figures)


def _protocols(recipe: Recipe, splits: Splits) -> list[tuple[str, ClassPool, float]]:
    if recipe.data.split == "background":
        return [("L", splits.test, 1.0)]
    return [("V upright", splits.test, 0.0), ("V rotated", splits.test.with_quarter_turns(), 0.0)]


def _training(recipe: Recipe, run: Path, notes: str) -> Training:
    state = checkpoint.load(run / CHECKPOINT, torch.device("cpu"))
    hardware = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    classes = {"background": "background alphabets", "vinyals": "Vinyals et al. (2016) training characters"}
    return Training(
        recipe=f"meta_models/recipes/{recipe.name}.toml",
        data=f"Omniglot, {classes[recipe.data.split]}",
        licence="MIT",
        source="https://github.com/brendenlake/omniglot",
        steps=state.step,
        minutes=round(state.seconds / 60, 1),
        hardware=hardware,
        notes=notes,
    )
