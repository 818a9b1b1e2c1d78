"""The two kinds of body: a backbone that all adapted models share, or none, where adapting goes into the backbone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from meta_models.algorithms.protocol import Tensors, with_backbone


@dataclass(frozen=True)
class SharedBody:
    """Features are the backbone's."""

    shares_body = True
    backbone: nn.Module

    def body(self, meta_params: Tensors, inputs: Tensor, *, training: bool = False) -> Tensor:
        return with_backbone(self.backbone, meta_params, inputs, training=training)


@dataclass(frozen=True)
class OwnBody:
    """Features are the inputs themselves; the head runs the backbone with each adapted model's own tensors."""

    shares_body = False
    backbone: nn.Module

    def body(self, meta_params: Tensors, inputs: Tensor, *, training: bool = False) -> Tensor:
        return inputs

    def _directions(self, tensors: Tensors, inputs: Tensor) -> Tensor:
        """(n, *input_shape) to (n, n_features) of unit length."""
        return functional.normalize(with_backbone(self.backbone, tensors, inputs), dim=-1)
