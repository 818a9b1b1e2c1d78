"""What happens once after the last step: a blend with where the run began, and a centre."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from meta_models.algorithms.protonet import CENTRE
from meta_models.datasets import ClassPool
from meta_models.settle import settled
from meta_models.torch_model import TorchModel, build_algorithm
from tests.meta_models.test_algorithms import BACKBONE, SHAPE, VARIANTS, a_recipe


@pytest.fixture
def ended() -> TorchModel:
    torch.manual_seed(1)
    algorithm = build_algorithm(VARIANTS["protonet-centred"], BACKBONE, SHAPE)
    return TorchModel(algorithm, algorithm.init())


def test_centred_features_of_training_classes_have_no_mean(ended: TorchModel, pool: ClassPool) -> None:
    model = settled(ended, None, a_recipe(VARIANTS["protonet-centred"]), (pool,))
    before, after = (m.features(pool.inputs).mean(0) for m in (ended, model))
    assert np.linalg.norm(before) > 0.1
    assert np.abs(after).max() < 1e-5
    assert np.linalg.norm(model.features(pool.inputs) + model.meta_params[CENTRE].numpy(), axis=1) == pytest.approx(1)


def test_a_blend_lies_between_where_the_run_began_and_ended(ended: TorchModel, pool: ClassPool) -> None:
    recipe = a_recipe(VARIANTS["protonet-centred"])
    recipe = recipe.model_copy(update={"outer": recipe.outer.model_copy(update={"blend": 0.25})})
    name = "backbone.blocks.block1.conv.weight"
    start = {name: torch.randn_like(ended.meta_params[name])}
    blended = settled(ended, start, recipe, (pool,)).meta_params
    assert torch.allclose(blended[name], 0.75 * start[name] + 0.25 * ended.meta_params[name], atol=1e-6)
    other = "backbone.blocks.block2.conv.weight"  # which the run did not begin from
    assert torch.equal(blended[other], ended.meta_params[other])


def test_nothing_happens_unless_it_is_asked_for(pool: ClassPool) -> None:
    algorithm = build_algorithm(VARIANTS["protonet-cosine"], BACKBONE, SHAPE)
    model = TorchModel(algorithm, algorithm.init())
    unread = replace(pool, inputs=pool.inputs[:0])  # features of it cannot be computed
    after = settled(model, model.meta_params, a_recipe(VARIANTS["protonet-cosine"]), (unread,))
    assert all(functional.mse_loss(after.meta_params[k], t) == 0 for k, t in model.meta_params.items())
