"""The inner loop to serve with is the best of those tried on development episodes; the log tells and is published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from meta_models.catalogue import Catalogue
from meta_models.manifest import ManifestError, read_manifest
from meta_models.publish import write_manifest
from meta_models.recipe import Recipe, load_recipe
from meta_models.search import SEARCH_LOG, choose_inner, keep_log
from meta_models.splits import Splits
from meta_models.torch_model import TorchModel, build_algorithm


def searched(inner_steps: tuple[int, ...]) -> tuple[TorchModel, Recipe]:
    recipe = load_recipe("omniglot-anil")
    search = recipe.search.model_copy(update={"inner_steps": inner_steps, "inner_lr": (0.1, 1.0)})
    development = recipe.development.model_copy(update={"n_episodes": 5, "settings": ((4, 1), (3, 5)), "n_query": 3})
    recipe = recipe.model_copy(
        update={"search": search, "development": development, "backbone": {"name": "conv4", "width": 8}}
    )
    torch.manual_seed(0)
    algorithm = build_algorithm(recipe.algorithm, recipe.backbone, recipe.input.shape)
    return TorchModel(algorithm, algorithm.init()), recipe


def test_what_is_chosen_is_the_best_that_the_log_tells(splits: Splits, tmp_path: Path) -> None:
    model, recipe = searched((0, 2, 5))
    log = tmp_path / SEARCH_LOG
    chosen, asked, words = choose_inner(model, recipe, splits.development, log, lambda _: None)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    means: dict[tuple[int, float], float] = {}
    for line in lines:
        means[line["inner_steps"], line["inner_lr"]] = (
            means.get((line["inner_steps"], line["inner_lr"]), 0) + line["accuracy"]
        )
    assert set(means) == {(0, 0.1), (2, 0.1), (2, 1.0), (5, 0.1), (5, 1.0)}
    assert {(line["n_way"], line["n_shot"]) for line in lines} == {(4, 1), (3, 5)}
    inner = chosen.algorithm.inner
    assert inner is not None
    assert means[inner.inner_steps, inner.inner_lr] == max(means.values())
    assert asked.algorithm["inner"] == {"inner_steps": inner.inner_steps, "inner_lr": inner.inner_lr}
    assert "4w1s" in words


def test_where_nothing_is_searched_no_log_stays(splits: Splits, tmp_path: Path) -> None:
    model, recipe = searched(())
    log = tmp_path / SEARCH_LOG
    log.write_text("of an earlier run\n")
    assert choose_inner(model, recipe, splits.development, log, lambda _: None) == (model, recipe, "")
    assert not log.exists()


def test_the_log_is_published_and_verified(tmp_path: Path) -> None:
    published = Catalogue().resolve("omniglot-scratch")
    folder, log = tmp_path / "zoo", tmp_path / SEARCH_LOG
    shutil.copytree(published.folder, folder)
    assert keep_log(published.manifest, log, folder) is published.manifest
    log.write_text("{}\n")
    write_manifest(keep_log(published.manifest, log, folder), folder)
    assert SEARCH_LOG in read_manifest(folder).files
    (folder / SEARCH_LOG).write_text("")
    with pytest.raises(ManifestError, match=SEARCH_LOG):
        read_manifest(folder)
