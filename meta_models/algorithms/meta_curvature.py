"""Meta-Curvature: gradients go through learned matrices (Park & Oliva 2019, arXiv:1902.03356)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from meta_models.algorithms.inner_loop import Update, descent
from meta_models.algorithms.maml import MAML
from meta_models.algorithms.protocol import InnerSettings, Tensors, n_features


@dataclass(frozen=True)
class MetaCurvature(MAML):
    """MAML whose step is -inner_lr · MC(gradient): a convolution's gradient, (c_out, c_in, height · width), is
    multiplied along each of its three modes by a learned matrix (eq. 7-9); all start as the identity.

    A vector has one mode. The head has its features as its only mode: a matrix over classes would fix their number.
    """

    name: ClassVar[str] = "meta_curvature"

    def init(self) -> Tensors:
        meta_params = super().init()
        modes = {n: _modes(t) for n, t in meta_params.items() if self._is_adapted(n)}
        modes["prototypes"] = {"in": n_features(self.backbone)}
        curvature = {f"curvature.{n}.{mode}": torch.eye(size) for n, of in modes.items() for mode, size in of.items()}
        return {**meta_params, **curvature}

    def _update(self, meta_params: Tensors, inner: InnerSettings) -> Update:
        def change(name: str, gradient: Tensor) -> Tensor:
            matrices = [meta_params.get(f"curvature.{name}.{mode}") for mode in ("out", "in", "filter")]
            return _along_modes(gradient, *matrices)

        return descent(inner.inner_lr, change)


def _modes(weight: Tensor) -> dict[str, int]:
    """Names and sizes of a weight's modes."""
    if weight.ndim == 4:
        return {"out": weight.shape[0], "in": weight.shape[1], "filter": weight.shape[2] * weight.shape[3]}
    if weight.ndim == 2:
        return {"out": weight.shape[0], "in": weight.shape[1]}
    return {"out": weight.shape[0]}


def _along_modes(gradient: Tensor, out: Tensor | None, into: Tensor | None, filters: Tensor | None) -> Tensor:
    """Mode products with the matrices that are given."""
    if out is not None:
        gradient = torch.tensordot(out, gradient, dims=1)
    if into is not None:
        gradient = torch.einsum("ij,oj...->oi...", into, gradient)
    if filters is not None:
        gradient = (gradient.flatten(2) @ filters.T).view_as(gradient)
    return gradient
