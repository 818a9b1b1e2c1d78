"""What is done once, after the last step of the outer loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from meta_models.algorithms import Tensors
from meta_models.algorithms.protocol import Settles
from meta_models.recipe import Recipe
from meta_models.splits import Pools
from meta_models.torch_model import TorchModel

N_EXAMPLES = 20
"""Of each training class."""


def settled(model: TorchModel, start: Tensors | None, recipe: Recipe, pools: Pools) -> TorchModel:
    """Blend with the meta_params that the run began from, as the recipe says, then let the algorithm settle."""
    params = dict(model.meta_params)
    for name, began in (start or {}).items():
        if recipe.outer.blend < 1 and name in params:
            params[name] = torch.lerp(began.to(params[name]), params[name], recipe.outer.blend)
    model = replace(model, meta_params=params)
    if not isinstance(model.algorithm, Settles):
        return model

    def features() -> Tensor:
        rows = [np.concatenate([own[:N_EXAMPLES] for own in pool.class_examples]) for pool in pools]
        found = [model.features(pool.inputs[some]) for pool, some in zip(pools, rows, strict=True)]
        return torch.from_numpy(np.concatenate(found)).to(model.device)

    return replace(model, meta_params=model.algorithm.settle(params, features))
