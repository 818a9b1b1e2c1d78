"""A recorded step learns what the same step learns when its kernels are launched one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from meta_models import outer_step
from meta_models.datasets import ClassPool
from meta_models.inputs import DrawingSpec, InputSpec, SoundSpec, TextSpec, VectorSpec
from meta_models.meta_train import meta_train
from meta_models.outer_step import CAPTURABLE, same_every_step
from meta_models.recipe import Data, Development, Outer, Recipe
from meta_models.splits import Protocol, Splits

STEPS = {"inner": {"inner_steps": 2, "inner_lr": 0.01}}
OPTIONS = {"maml": STEPS, "meta_sgd": STEPS, "meta_curvature": STEPS, "pretrain": {"n_classes": 64}}


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", [*sorted(CAPTURABLE), "pretrain, taught"])
def test_recorded_and_launched_steps_agree(
    pool: ClassPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, optimizer: str
) -> None:
    train, development, test = (pool.subset(pool.class_groups == group) for group in range(3))
    splits = Splits((train,), (development,), (Protocol("L", test, 1.0),))
    recipe = a_recipe(name.removesuffix(", taught"), optimizer)
    if name.endswith("taught"):
        meta_train(recipe, splits, tmp_path / "teacher", device="cuda")
        recipe = recipe.model_copy(update={"taught_by": "teacher"})
    recorded = meta_train(recipe, splits, tmp_path / "recorded", device="cuda").meta_params
    monkeypatch.setattr(outer_step, "CAPTURABLE", frozenset())
    launched = meta_train(recipe, splits, tmp_path / "launched", device="cuda").meta_params
    for key, tensor in launched.items():
        torch.testing.assert_close(recorded[key], tensor, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("spec", "augment", "same"),
    [
        (DrawingSpec(), {"rotation": 10}, True),
        (VectorSpec(), {}, True),
        (SoundSpec(), {"gain": 6}, False),
        (TextSpec(), {"hidden_names": 0.5}, False),
    ],
)
def test_what_is_drawn_within_a_step_is_not_recorded(spec: InputSpec, augment: dict[str, float], same: bool) -> None:
    changes = {"input": spec, "augment": augment}
    assert same_every_step(a_recipe("protonet", "adam").model_copy(update=changes)) == same
    assert not same_every_step(a_recipe("reptile", "adam").model_copy(update=changes))


def a_recipe(name: str, optimizer: str) -> Recipe:
    return Recipe(
        name="sketches",
        description="sketches of the tests",
        algorithm={"name": name, **OPTIONS.get(name, {})},
        backbone={"name": "conv4", "width": 8},
        data=Data(split="background"),
        episodes=({"n_way": 8, "n_shot": 1, "n_query": 3}, {"n_way": 5, "n_shot": 2, "n_query": 3, "symmetries": True}),
        augment={"rotation": 10, "elastic": 0.05, "stroke": 0.5},
        outer=Outer.model_validate(
            {
                "steps": 12,
                "meta_batch_size": 4,
                "outer_lr": 1e-3,
                "outer_lr_of": {"log_scale": 1e-2},
                "precision": "float32",
                "optimizer": optimizer,
            }
        ),
        development=Development(every=12, n_episodes=5, within_group=0, settings=((5, 1),), n_query=3),
    )
