"""Relation Network: the comparison itself is learned (Sung et al. 2018, arXiv:1711.06025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from meta_models.algorithms.bodies import SharedBody
from meta_models.algorithms.protocol import (
    InnerSettings,
    OnStep,
    Tensors,
    class_means,
    init_backbone,
    n_features,
)


@dataclass(frozen=True)
class Relation(SharedBody):
    """Score of a class: g([prototype, query]) with g a network of two hidden layers (eq. 1).

    A class's examples are averaged, not summed, so that any number of them fits. Scores are logits trained
    by cross-entropy; the paper regresses them to 0 and 1.
    """

    name: ClassVar[str] = "relation"
    hidden: int = 128
    inner: InnerSettings | None = None

    def init(self) -> Tensors:
        backbone = init_backbone(self.backbone)
        d, h = n_features(self.backbone), self.hidden
        first, second, last = nn.Linear(2 * d, h), nn.Linear(h, h), nn.Linear(h, 1, bias=False)
        relation = {
            # g's first layer, split between the two halves of the concatenation.
            "relation.prototype": first.weight[:, :d],
            "relation.query": first.weight[:, d:],
            "relation.bias": first.bias,
            "relation.second": second.weight,
            "relation.second_bias": second.bias,
            "relation.last": last.weight,
        }
        return {**backbone, **{name: t.detach().clone() for name, t in relation.items()}}

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
        return {"prototypes": class_means(_unit_variance(features), labels, n_way)}

    def head(self, meta_params: Tensors, adapted: Tensors, features: Tensor) -> Tensor:
        # A linear layer of a concatenation is a sum of two linear layers: each half is computed once.
        of_class = adapted["prototypes"] @ meta_params["relation.prototype"].T
        of_query = _unit_variance(features) @ meta_params["relation.query"].T + meta_params["relation.bias"]
        pairs = torch.relu(of_query[:, None] + of_class[None])
        pairs = torch.relu(
            functional.linear(pairs, meta_params["relation.second"], meta_params["relation.second_bias"])
        )
        return functional.linear(pairs, meta_params["relation.last"]).squeeze(-1)


def _unit_variance(features: Tensor) -> Tensor:
    """Each example's features scaled to a mean square of 1, whatever the backbone's scale."""
    return functional.normalize(features, dim=-1) * features.shape[-1] ** 0.5
