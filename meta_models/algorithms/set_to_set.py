"""Class prototypes that see one another: attention of each one to all, added to what it was (FEAT, Ye et al. 2020,
arXiv:1812.03664)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from meta_models.algorithms.protocol import Tensors

HEADS = 4
_WIDTH = 64
"""Of the queries of all heads together, and of the values of each."""
_SHARPNESS = 8.0
"""Prototypes are of unit length, so their products are small."""


def init_set_to_set(d: int) -> Tensors:
    """Tensors for prototypes of `d` numbers, which begin nearly as they are."""
    shapes = {"query": (_WIDTH, d), "key": (_WIDTH, d), "value": (HEADS * _WIDTH, d), "out": (d, HEADS * _WIDTH)}
    reach = {name: 1e-3 if name == "out" else d**-0.5 for name in shapes}
    return {name: torch.empty(shape).uniform_(-reach[name], reach[name]) for name, shape in shapes.items()}


def set_to_set(tensors: Tensors, prototypes: Tensor) -> Tensor:
    """(n_way, d) of unit length to (n_way, d)."""
    query, key, value = (
        functional.linear(prototypes, tensors[name]).unflatten(1, (HEADS, -1)).transpose(0, 1)
        for name in ("query", "key", "value")
    )
    attention = (_SHARPNESS * query @ key.transpose(1, 2)).softmax(-1)
    return prototypes + functional.linear((attention @ value).transpose(0, 1).flatten(1), tensors["out"])
