"""What is learned from development classes because training has not seen them, and who may still be judged by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from meta_models.algorithms.protocol import Discriminates
from meta_models.datasets import ClassPool
from meta_models.evaluate import Judge
from meta_models.inputs import DrawingSpec
from meta_models.recipe import Recipe
from meta_models.sources import Pools
from meta_models.torch_model import TorchModel


def discriminates(model: TorchModel) -> bool:
    return isinstance(model.algorithm, Discriminates) and model.algorithm.discriminant > 0


def discriminated(model: TorchModel, recipe: Recipe, pools: Pools) -> TorchModel:
    """With the directions that tell the classes of `pools` apart, where the algorithm has any; drawings are turned, if
    the recipe's episodes turn them."""
    if not (isinstance(model.algorithm, Discriminates) and model.algorithm.discriminant):
        return model
    turned = isinstance(recipe.input, DrawingSpec) and any(spec.symmetries for spec in recipe.episode_specs)
    features, classes = [], []
    for pool in (pool.with_quarter_turns() if turned else pool for pool in pools):
        features.append(model.features(pool.inputs[np.concatenate(pool.class_examples)]))
        sizes = [len(rows) for rows in pool.class_examples]
        classes.append(np.repeat(np.arange(len(sizes)), sizes) + sum(len(np.unique(c)) for c in classes))
    found = model.algorithm.discriminate(
        model.meta_params,
        torch.from_numpy(np.concatenate(features)).to(model.device),
        torch.from_numpy(np.concatenate(classes)).to(model.device),
    )
    return replace(model, meta_params=found)


def judged(model: TorchModel, recipe: Recipe, pools: Pools) -> list[Judge]:
    """Each pool with the model; where it learns directions, each half of a pool with those of the other half."""
    if not discriminates(model):
        return [(model, pool) for pool in pools]
    return [
        (discriminated(model, recipe, (other,)), half)
        for pool in pools
        for one, two in [_halves(pool)]
        for half, other in ((one, two), (two, one))
    ]


def _halves(pool: ClassPool) -> tuple[ClassPool, ClassPool]:
    """Every second group; every second class, where there is one group."""
    groups = np.unique(pool.class_groups)
    parts = np.arange(pool.n_classes) if len(groups) == 1 else np.searchsorted(groups, pool.class_groups)
    return pool.subset(parts % 2 == 0), pool.subset(parts % 2 == 1)
