"""Matching Networks: labels of the support examples, weighted by attention (Vinyals et al. 2016, arXiv:1606.04080)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from meta_models.algorithms.bodies import SharedBody
from meta_models.algorithms.protocol import InnerSettings, OnStep, Tensors, init_backbone, memberships


@dataclass(frozen=True)
class Matching(SharedBody):
    """P(y | x) = Σ a(x, xᵢ) yᵢ with a the softmax of scaled cosines (eq. 1 and section 2.1.1).

    The scale is learned. An example's attention is divided by the size of its class, so that a class does not
    win by numbers. Full-context embeddings are left out: they read the support set in an order.
    """

    name: ClassVar[str] = "matching"
    inner: InnerSettings | None = None

    def init(self) -> Tensors:
        return {**init_backbone(self.backbone), "log_scale": torch.tensor(math.log(10.0))}

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
        return {
            "embeddings": functional.normalize(features, dim=-1),
            "labels": labels.float(),
            "class_sizes": memberships(labels, n_way).sum(0),
        }

    def head(self, meta_params: Tensors, adapted: Tensors, features: Tensor) -> Tensor:
        similarity = meta_params["log_scale"].exp() * functional.normalize(features, dim=-1) @ adapted["embeddings"].T
        sizes = adapted["class_sizes"]
        one_hot = adapted["labels"][:, None] == torch.arange(sizes.shape[0], device=sizes.device)
        # The logarithm of the attention each class receives, up to what all classes share; the nearest
        # example's similarity goes out of the exponential and comes back, so that nothing overflows and
        # a query unlike every example has low logits.
        nearest = similarity.max(dim=1, keepdim=True).values
        received = (similarity - nearest).exp() @ (one_hot.to(similarity.dtype) / sizes)
        return received.clamp_min(1e-30).log() + nearest
