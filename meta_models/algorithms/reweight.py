"""Learned weights of support examples, against wrong labels.

After Ren et al. 2018 ("Learning to reweight examples for robust deep learning", arXiv:1803.09050) and Meta-Weight-Net
(Shu et al. 2019, arXiv:1902.07379): what is meta-learned is a small function from how an example sits among the
others to its weight. Both papers ask a clean set for the weights; here episodes with wrong labels
(`label_noise` in a recipe) teach them, and a client needs nothing but the support set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from meta_models.algorithms.anil import ANIL
from meta_models.algorithms.inner_loop import balanced_weights, inner_loop, inside
from meta_models.algorithms.protocol import InnerSettings, OnStep, Tensors, memberships


@dataclass(frozen=True)
class Reweight(ANIL):
    """ANIL with weighted prototypes and a weighted inner loss.

    An adapted model carries `example_weights` (n_support,), 1 on average in each class: the smaller, the more
    suspicious the example's label. A class's only example has weight 1.
    """

    name: ClassVar[str] = "reweight"
    rounds: int = 3
    hidden: int = 32

    def init(self) -> Tensors:
        first, last = nn.Linear(4, self.hidden), nn.Linear(self.hidden, 1)
        tensors = {
            "reliability.first": first.weight,
            "reliability.first_bias": first.bias,
            "reliability.last": last.weight,
            "reliability.last_bias": last.bias,
        }
        return {**super().init(), **{name: t.detach().clone() for name, t in tensors.items()}}

    def adapt(
        self,
        meta_params: Tensors,
        features: Tensor,
        labels: Tensor,
        n_way: int,
        *,
        inner: InnerSettings | None = None,
        create_graph: bool = False,
        on_step: OnStep | None = None,
    ) -> Tensors:
        directions = functional.normalize(features, dim=-1)
        weights = self._example_weights(meta_params, directions, labels, n_way)
        shares = weights * balanced_weights(labels, n_way)
        means = memberships(labels, n_way).T @ (shares[:, None] * directions)
        known = inside(meta_params)
        fast = inner_loop(
            lambda fast, x: self.head(known, fast, x),
            {"prototypes": functional.normalize(means, dim=-1)},
            features,
            labels,
            n_way,
            inner or self.inner,
            shares=shares,
            first_order=self.first_order or not create_graph,
            on_step=on_step,
        )
        return {**fast, "example_weights": weights}

    def _example_weights(self, meta_params: Tensors, directions: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """A few rounds of: prototypes from the weights so far, weights from the distances to them."""
        member = memberships(labels, n_way)
        counts = member.sum(0)
        weights = torch.ones_like(counts[labels])
        for _ in range(self.rounds):
            raw = self._reliability(meta_params, _cues(directions, labels, member, weights))
            weights = raw * (counts / (member.T @ raw))[labels]
        return weights

    @staticmethod
    def _reliability(meta_params: Tensors, cues: Tensor) -> Tensor:
        hidden = torch.relu(
            functional.linear(cues, meta_params["reliability.first"], meta_params["reliability.first_bias"])
        )
        score = functional.linear(hidden, meta_params["reliability.last"], meta_params["reliability.last_bias"])
        return score.squeeze(-1).sigmoid() + 1e-3  # a class keeps its examples even if all look wrong


def _cues(directions: Tensor, labels: Tensor, member: Tensor, weights: Tensor) -> Tensor:
    """(n_support, 4): cosine to the rest of its own class, to the nearest other class, their difference, and how
    large its class is."""
    weighted = weights[:, None] * directions
    sums = member.T @ weighted
    rest = functional.normalize(sums[labels] - weighted, dim=-1)  # zero where an example is its class's only one
    own = (directions * rest).sum(-1)
    cosines = directions @ functional.normalize(sums, dim=-1).T
    other = cosines.masked_fill(member.bool(), -1.0).amax(dim=1)
    return torch.stack([own, other, own - other, 1 / member.sum(0)[labels]], dim=1)
