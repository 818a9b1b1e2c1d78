"""What makes no difference to a class: the directions in which views of its example differ from it.

Tangent distance (Simard et al. 1993, "Efficient pattern recognition using a new transformation distance") compares
pictures but for small turns and shears of either. Here features are compared so, with what turns and shears do to all
of an episode's classes taken together: nothing is added to a query's cost, since a prototype that has no part along
some directions ignores the query's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from meta_models.algorithms.affine import moved

TURN, SHEAR = math.radians(15), 0.3
STRENGTH = 50.0
"""Of unit features, whose views are some 0.4 away: nearly all is taken away, and of what differs little, less."""

N_VIEWS = 4


def views(inputs: Tensor) -> Tensor:
    """(n, channels, height, width) to (n, 4, channels, height, width): turned and sheared, either way."""
    maps = [_turned(TURN), _turned(-TURN), [[1, SHEAR, 0], [0, 1, 0]], [[1, -SHEAR, 0], [0, 1, 0]]]
    return torch.stack(moved(inputs, inputs.new_tensor(maps), padding="border"), 1)


def without(prototypes: Tensor, differences: Tensor) -> Tensor:
    """Prototypes (n_way, d) less their parts along differences (m, d): (1 + s D'D)⁻¹ P' by Woodbury's identity, m
    equations instead of d."""
    gram = differences @ differences.T + torch.eye(len(differences), device=differences.device) / STRENGTH
    return prototypes - torch.linalg.solve(gram, differences @ prototypes.T).T @ differences


def _turned(angle: float) -> list[list[float]]:
    return [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0]]
