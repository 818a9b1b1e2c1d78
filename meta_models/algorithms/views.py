"""A learned augmentation: every example, of the support set and of the queries, is seen in several views.

The policy is a handful of affine maps with weights. Augmentation policies are usually searched for (Cubuk et al. 2019,
arXiv:1805.09501); affine maps have a derivative (Jaderberg et al. 2015, arXiv:1506.02025), so the outer loop learns
this one like everything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from meta_models.algorithms.affine import moved
from meta_models.algorithms.protocol import Tensors, with_backbone
from meta_models.algorithms.protonet import ProtoNet


@dataclass(frozen=True)
class LearnedViews(ProtoNet):
    """A Prototypical Network whose features are a weighted mean over `n_views` affine views of the input.

    The first view begins as the input itself, the others as small random maps. The backbone comes trained, so its
    normalisation keeps its running statistics.
    """

    name: ClassVar[str] = "views"
    n_views: int = 5

    def init(self) -> Tensors:
        maps = torch.eye(2, 3) + 0.08 * torch.randn(self.n_views, 2, 3)
        maps[0] = torch.eye(2, 3)
        return {**super().init(), "views.maps": maps, "views.log_weights": torch.zeros(self.n_views)}

    def body(self, meta_params: Tensors, inputs: Tensor, *, training: bool = False) -> Tensor:
        """(n, channels, height, width) to (n, d): the mean of the views' features, each of unit length."""
        n, maps = len(inputs), meta_params["views.maps"]
        features = with_backbone(self.backbone, meta_params, torch.cat(moved(inputs, maps)))
        directions = functional.normalize(features.float(), dim=-1).unflatten(0, (self.n_views, n))
        return torch.einsum("v,vnd->nd", meta_params["views.log_weights"].softmax(0), directions)
