"""Learning goes on from training and development classes together, once everything is chosen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from meta_models.algorithms import ALGORITHMS, Episode, InnerSettings, Tensors
from meta_models.algorithms.mamlpp import MAMLPP
from meta_models.all_classes import RUN, learn_from_all
from meta_models.checkpoint import RECIPE as RECIPE_FILE
from meta_models.datasets import ClassPool
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.meta_train import LOG, meta_train
from meta_models.recipe import Data, Development, Outer, Recipe, Search
from meta_models.search import choose_inner
from meta_models.splits import Splits

# More classes an episode than training or development classes alone have.
RECIPE = Recipe(
    name="sketches",
    description="sketches of the tests",
    algorithm={"name": "protonet"},
    backbone={"name": "conv4", "width": 8},
    data=Data(split="background"),
    episodes={"n_way": 12, "n_shot": 1, "n_query": 2},
    outer=Outer(steps=2, all_classes_steps=3, outer_lr=3e-3, precision="float32"),
    development=Development(n_episodes=2, within_group=0, settings=((5, 1),), n_query=2),
)


def test_both_pools_are_learned_from_and_neither_is_measured(splits: Splits, tmp_path: Path) -> None:
    before = RECIPE.model_copy(update={"episodes": {"n_way": 8, "n_shot": 1, "n_query": 2}})
    model = meta_train(before, splits, tmp_path, device="cpu")
    steps: list[int] = []
    after = learn_from_all(
        model, RECIPE, splits, tmp_path, device="cpu", on_progress=lambda step, _: steps.append(step)
    )
    assert steps == [3, 4, 5]
    assert not torch.equal(after.meta_params["log_scale"], model.meta_params["log_scale"])
    [line] = map(json.loads, (tmp_path / RUN / LOG).read_text().splitlines())
    assert set(line) == {"step", "seconds", "loss", "accuracy"}


def test_schedules_stay_where_they_ended(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []

    class Noting(MAMLPP):
        def meta_loss(
            self, meta_params: Tensors, episode: Episode, *, training: bool, progress: float
        ) -> tuple[Tensor, Tensor]:
            told.append(progress)
            return super().meta_loss(meta_params, episode, training=training, progress=progress)

    monkeypatch.setitem(ALGORITHMS, "mamlpp", Noting)
    changes = {"algorithm": {"name": "mamlpp"}, "episodes": {"n_way": 5, "n_shot": 1, "n_query": 1}}
    recipe = RECIPE.model_copy(update=changes)
    model = meta_train(recipe, splits, tmp_path, device="cpu")
    learn_from_all(model, recipe, splits, tmp_path, device="cpu")
    assert told == [0, 0.5, 1, 1, 1]


def test_it_learns_with_the_inner_loop_it_was_trained_with(splits: Splits, tmp_path: Path) -> None:
    """Where no steps were chosen to serve with, MAML++ has none to weigh the losses of."""
    learning = {"steps": 1, "all_classes_steps": 1, "outer_lr_of": {"rate.": 0.1}, "horizon": 2, "cooldown": 9}
    outer = RECIPE.outer.model_copy(update=learning)
    taken = {"name": "mamlpp", "max_steps": 1, "inner": {"inner_steps": 1, "inner_lr": 0.1}}
    changes = {"algorithm": taken, "outer": outer, "episodes": {"n_way": 5, "n_shot": 1, "n_query": 1}}
    recipe = RECIPE.model_copy(update={**changes, "search": Search(inner_steps=(0,), inner_lr=(0.1,))})
    trained = meta_train(recipe, splits, tmp_path, device="cpu")
    model, _, _ = choose_inner(trained, recipe, splits.development, tmp_path / "search.jsonl", lambda _: None)
    after = learn_from_all(model, recipe, splits, tmp_path, device="cpu")
    assert after.algorithm.inner == InnerSettings(0, 0.1)
    assert not torch.equal(after.meta_params["log_scale"], model.meta_params["log_scale"])
    learned = json.loads((tmp_path / RUN / RECIPE_FILE).read_text())
    assert learned["algorithm"] == taken
    assert (learned["outer"]["outer_lr"], learned["outer"]["outer_lr_of"]) == (1.5e-3, {"rate.": 0.05})
    assert (learned["outer"]["horizon"], learned["outer"]["cooldown"]) == (None, 0), "those of the steps before"


def test_joined_pools_hold_the_classes_of_both(pool: ClassPool, splits: Splits) -> None:
    joined = splits.train[0].joined(splits.development[0])
    assert joined.class_names == pool.class_names[:16]
    np.testing.assert_array_equal(joined.class_groups, pool.class_groups[:16])
    rows = sample_episode(joined, EpisodeSpec(16, 1, 1), seed=0, number=0)
    assert {int(row) // 12 for row in rows.support.ravel()} == set(range(16))


def test_pools_of_other_inputs_cannot_be_joined(splits: Splits) -> None:
    turned = splits.development[0].with_quarter_turns()
    with pytest.raises(ValueError, match="cut from the same inputs"):
        splits.train[0].joined(turned)


def test_a_classifier_of_its_training_classes_is_refused() -> None:
    with pytest.raises(ValidationError, match="cannot learn others"):
        Recipe.model_validate({**RECIPE.model_dump(), "algorithm": {"name": "pretrain", "n_classes": 64}})
