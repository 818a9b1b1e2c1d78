"""Meta-SGD: a learned step size and direction for every weight (Li et al. 2017, arXiv:1707.09835)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from meta_models.algorithms.inner_loop import Update, descent
from meta_models.algorithms.maml import MAML
from meta_models.algorithms.protocol import InnerSettings, Tensors, n_features


@dataclass(frozen=True)
class MetaSGD(MAML):
    """MAML whose step is -inner_lr · α ∘ gradient, with α as large as the weights (eq. 3).

    α starts at 1 and may become negative. All rows of the head share theirs, which keeps any number of classes
    possible. A client's `inner_lr` scales what was learned.
    """

    name: ClassVar[str] = "meta_sgd"

    def init(self) -> Tensors:
        meta_params = super().init()
        adapted = {name: t for name, t in meta_params.items() if self._is_adapted(name)}
        row = torch.empty(n_features(self.backbone))
        return {**meta_params, **{f"alpha.{n}": torch.ones_like(t) for n, t in {**adapted, "prototypes": row}.items()}}

    def _update(self, meta_params: Tensors, inner: InnerSettings) -> Update:
        def change(name: str, gradient: Tensor) -> Tensor:
            return meta_params[f"alpha.{name}"] * gradient

        return descent(inner.inner_lr, change)
