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
    row_sums,
)

_N_HIDDEN = 8
"""Units between the relation module's maps and its score."""


@dataclass(frozen=True)
class Relation(SharedBody):
    """Score of a class: g([its maps, the query's]), with g two convolutions and two linear layers (eq. 1, figure 2).

    A class's examples are averaged, not summed, so that any number of them fits. Scores are logits trained by
    cross-entropy; the paper regresses them to 0 and 1. g normalises nothing: what it compares has a mean square of 1.
    """

    name: ClassVar[str] = "relation"
    filters: int = 64
    inner: InnerSettings | None = None

    def init(self) -> Tensors:
        channels, height, width = self._map_shape
        side = 3 if min(height, width) > 1 else 1
        first = nn.Conv2d(2 * channels, self.filters, side)
        second = nn.Conv2d(self.filters, self.filters, side)
        third, last = nn.Linear(self.filters * _half(height) * _half(width), _N_HIDDEN), nn.Linear(_N_HIDDEN, 1)
        for layer in (first, second, third):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        relation = {
            # g's first layer, split between the two halves of the concatenation.
            "relation.class": first.weight[:, :channels],
            "relation.query": first.weight[:, channels:],
            "relation.bias": first.bias,
            "relation.second": second.weight,
            "relation.second_bias": second.bias,
            "relation.third": third.weight,
            "relation.third_bias": third.bias,
            "relation.last": last.weight,
        }
        return {**init_backbone(self.backbone), **{name: t.detach().clone() for name, t in relation.items()}}

    def body(self, meta_params: Tensors, inputs: Tensor, *, training: bool = False) -> Tensor:
        """(n, *input_shape) to maps (n, channels, height, width), each example's of a mean square of 1."""
        features = super().body(meta_params, inputs, training=training).float()
        return (functional.normalize(features, dim=-1) * features.shape[-1] ** 0.5).unflatten(1, self._map_shape)

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
        maps = class_means(features.flatten(1), labels, n_way).unflatten(1, features.shape[1:])
        return {"of_class": functional.conv2d(maps, meta_params["relation.class"], padding="same")}

    def head(self, meta_params: Tensors, adapted: Tensors, features: Tensor) -> Tensor:
        relation = {
            name.removeprefix("relation."): t for name, t in meta_params.items() if name.startswith("relation.")
        }
        of_class = adapted["of_class"]
        of_query = functional.conv2d(features, relation["query"], relation["bias"], padding="same")
        # A convolution of a concatenation is a sum of two convolutions: each half is computed once.
        pairs = _pooled(torch.relu(of_query[:, None] + of_class[None]).flatten(0, 1))
        pairs = torch.relu(functional.conv2d(pairs, relation["second"], relation["second_bias"], padding="same"))
        hidden = torch.relu(functional.linear(pairs.flatten(1), relation["third"], relation["third_bias"]))
        n_query, n_way = of_query.shape[0], of_class.shape[0]  # not `len`: exported graphs have symbols for them
        return row_sums(hidden * relation["last"]).unflatten(0, (n_query, n_way)).squeeze(-1)

    @property
    def _map_shape(self) -> tuple[int, int, int]:
        """Of a backbone that has no maps, vectors are maps of one position."""
        return getattr(self.backbone, "map_shape", (n_features(self.backbone), 1, 1))


def _half(side: int) -> int:
    return max(side // 2, 1)


def _pooled(maps: Tensor) -> Tensor:
    """Half as high and wide. Windows of three share an odd side out evenly; windows of two would leave an edge out."""
    height, width = maps.shape[2:]
    windows = [min(side, 2 + side % 2) for side in (height, width)]
    return functional.max_pool2d(maps, windows, 2)
