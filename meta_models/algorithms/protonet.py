"""Prototypical Networks: classify by the nearest class mean (Snell et al. 2017, arXiv:1703.05175)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from meta_models.algorithms.bodies import SharedBody
from meta_models.algorithms.protocol import InnerSettings, OnStep, Tensors, class_means, init_backbone, row_sums


@dataclass(frozen=True)
class ProtoNet(SharedBody):
    """Logits are minus squared distances (eq. 2) or scaled cosines to the class means (eq. 1).

    `metric="cosine"` learns the scale with the backbone (Gidaris & Komodakis 2018, arXiv:1804.09458). With `mirror` a
    feature is the mean of a picture's and its mirror image's, each of unit length, once the backbone is trained.
    """

    name: ClassVar[str] = "protonet"
    metric: Literal["euclidean", "cosine"] = "cosine"
    mirror: bool = False
    inner: InnerSettings | None = None

    def init(self) -> Tensors:
        scale = 10.0 if self.metric == "cosine" else 1.0
        return {**init_backbone(self.backbone), "log_scale": torch.tensor(math.log(scale))}

    def body(self, meta_params: Tensors, inputs: Tensor, *, training: bool = False) -> Tensor:
        if training or not self.mirror:
            return super().body(meta_params, inputs, training=training)
        both = super().body(meta_params, torch.cat([inputs, inputs.flip(3)])).float()
        return functional.normalize(both, dim=-1).unflatten(0, (2, -1)).mean(0)

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
        if self.metric == "cosine":
            features = functional.normalize(features.float(), dim=-1)
        return {"prototypes": class_means(features, labels, n_way)}

    def head(self, meta_params: Tensors, adapted: Tensors, features: Tensor) -> Tensor:
        prototypes, scale = adapted["prototypes"], meta_params["log_scale"].exp()
        if self.metric == "cosine":
            return scale * functional.normalize(features, dim=-1) @ functional.normalize(prototypes, dim=-1).T
        # -|f - c|² without the term every class shares.
        return scale * (2 * features @ prototypes.T - (prototypes * prototypes).sum(-1) - row_sums(features * features))
