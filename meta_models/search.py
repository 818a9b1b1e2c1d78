"""Which inner loop to serve with: steps and step size tried on development episodes, all of it logged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from meta_models.algorithms import InnerSettings
from meta_models.evaluate import Accuracy
from meta_models.manifest import Manifest, sha256
from meta_models.meta_train import evaluate_settings
from meta_models.recipe import Recipe
from meta_models.splits import Pools
from meta_models.torch_model import TorchModel, build_algorithm

SEARCH_LOG = "search.jsonl"
"""In a run and in what it publishes: a line for every setting tried."""
SEED = 3

Tried = tuple[list[Accuracy], InnerSettings]


def choose_inner(
    model: TorchModel, recipe: Recipe, pools: Pools, log: Path, say: Callable[[str], None]
) -> tuple[TorchModel, Recipe, str]:
    """The best of what the recipe wants tried, by mean development accuracy over its settings: what helps one number of
    shots may harm another. Returns model and recipe with it, and what a card says of it; `log` keeps everything."""
    if not recipe.search.inner_steps:
        log.unlink(missing_ok=True)
        return model, recipe, ""
    tried = search(model, recipe, pools, log, say)
    _, chosen = best = best_of(tried)
    algorithm = {**recipe.algorithm, "inner": {"inner_steps": chosen.inner_steps, "inner_lr": chosen.inner_lr}}
    recipe = recipe.model_copy(update={"algorithm": algorithm})
    rebuilt = build_algorithm(recipe.algorithm, recipe.backbone, recipe.input.shape)
    return TorchModel(rebuilt, model.meta_params, model.device), recipe, _in_words(best, tried, recipe)


def search(model: TorchModel, recipe: Recipe, pools: Pools, log: Path, say: Callable[[str], None]) -> list[Tried]:
    """Accuracy on development episodes with each inner loop of the recipe's search; a line of `log` for each."""
    tried: list[Tried] = []
    with log.open("w") as file:
        for steps in recipe.search.inner_steps:
            # At zero steps the step size means nothing: try it once.
            for rate in recipe.search.inner_lr if steps else recipe.search.inner_lr[:1]:
                inner = InnerSettings(steps, rate)
                found = evaluate_settings(model, recipe, pools, SEED, inner)
                for (n_way, n_shot), accuracy in zip(recipe.development.settings, found, strict=True):
                    line = {"n_way": n_way, "n_shot": n_shot, "inner_steps": steps, "inner_lr": rate}
                    file.write(json.dumps({**line, "accuracy": accuracy.mean, "ci95": accuracy.ci95}) + "\n")
                file.flush()
                tried.append((found, inner))
                say(f"{steps} steps of {rate}: {_shown(found, recipe)} on development episodes")
    return tried


def keep_log(manifest: Manifest, log: Path, folder: Path) -> Manifest:
    """Put the log of the search, where there was one, beside what was chosen by it, and on the list of its files."""
    if not log.exists():
        return manifest
    kept = shutil.copyfile(log, folder / SEARCH_LOG)
    return manifest.model_copy(update={"files": {**manifest.files, SEARCH_LOG: sha256(kept)}})


def best_of(tried: list[Tried]) -> Tried:
    """By the mean accuracy over the settings."""
    return max(tried, key=lambda one: sum(accuracy.mean for accuracy in one[0]))


def _shown(found: list[Accuracy], recipe: Recipe) -> str:
    settings = zip(recipe.development.settings, found, strict=True)
    return ", ".join(f"{n_way}w{n_shot}s {accuracy}" for (n_way, n_shot), accuracy in settings)


def _in_words(best: Tried, tried: list[Tried], recipe: Recipe) -> str:
    found, chosen = best
    zero = next((one for one, inner in tried if inner.inner_steps == 0), [])
    if chosen.inner_steps == 0:
        zero, verdict = [], "No number of inner steps tried beats none on development episodes: "
    else:
        verdict = "On development episodes: "
    compared = "; ".join(
        f"{n_way}w{n_shot}s with {chosen.inner_steps} steps of {chosen.inner_lr}: {after}"
        + (f", with 0 steps: {zero[i]}" if zero else "")
        for i, ((n_way, n_shot), after) in enumerate(zip(recipe.development.settings, found, strict=True))
    )
    return f"{verdict}{compared}."
