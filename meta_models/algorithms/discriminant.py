"""The directions in which classes differ more than their examples do: linear discriminants (Fisher 1936; Rao 1948 for
several classes). Cosines along them compare what tells classes apart, and a prototype is as short as they are few.
"""

from __future__ import annotations

import torch
from torch import Tensor

_RIDGE = 2.0
"""Added to the variance within classes, in units of its mean over directions."""


def directions(features: Tensor, classes: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """From features (m, d) and their class numbers (m,): the mean over classes (d,), and (d, n) directions.

    In the space that they span examples of a class scatter alike in every direction, and no other n separate the class
    means more.

    Raises:
        ValueError: there are not n directions in d dimensions.
    """
    m, d = features.shape
    if n > d:
        raise ValueError(f"{n} directions in features of {d} dimensions")
    members, counts = torch.unique(classes, return_inverse=True, return_counts=True)[1:]
    x = features.double()
    means = torch.zeros(len(counts), d, dtype=x.dtype, device=x.device).index_add_(0, members, x) / counts[:, None]
    apart = x - means[members]
    within = apart.T @ apart / m
    centre = means.mean(0)
    between = (means - centre).T @ (means - centre) / len(counts)
    variances, axes = torch.linalg.eigh(within)
    whiten = axes * (variances.clamp(min=0) + _RIDGE * variances.mean()).rsqrt() @ axes.T
    strongest = torch.linalg.eigh(whiten @ between @ whiten)[1].flip(1)[:, :n]
    return centre.float(), (whiten @ strongest).float()
