"""A head on vectors that come as they are: standardised by the support set, then adapted.

Embeddings of any length and tables whose columns have units of their own become vectors that one set of meta-learned
scalars suits: no number here depends on how many dimensions there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor

from meta_models.algorithms.anil import ANIL
from meta_models.algorithms.bodies import OwnBody
from meta_models.algorithms.inner_loop import Update, balanced_weights, cautious
from meta_models.algorithms.protocol import Algorithm, InnerSettings, OnStep, Tensors, row_sums
from meta_models.algorithms.protonet import ProtoNet
from meta_models.algorithms.ridge import Ridge

CONSTANT = 1e-12
"""A dimension whose variance is no more than this share of its mean square tells nothing apart: float32's rounding."""
FAR = 4.0
"""Root mean square of (x - center) / scale, about 1 for examples, from which on a row is unlike every class; with few
examples, whose scale is a guess, from further on."""
FEW = 4
"""Degrees of freedom of the scale with which that is twice as far."""
WILD = 3
"""How far, in that unit, one dimension's value counts: a few wild ones make no row far."""


class _Cautious(ANIL):
    """Its scale is learned on classes that lie apart, those of a client's table may not."""

    def _update(self, meta_params: Tensors, inner: InnerSettings) -> Update:
        return cautious(inner.inner_lr)


@dataclass(frozen=True)
class Standardized(OwnBody):
    """u = z / √(|z|² + τ d) with z = γ tanh((x - center) / (γ scale)) of d dimensions.

    γ bounds what one wild value can do. τ = 0 keeps the direction of z alone; a large τ keeps its length, which tells
    classes apart where there are few dimensions. |u| is at most 1. Learned: τ, γ and the scalars of the head.

    u forgets how far a row lies, so all logits of one that is farther than examples are fall alike: its probabilities
    stay, and it is rejected.
    """

    name: ClassVar[str] = "standardized"
    head_name: Literal["prototype", "ridge", "gradient"] = "prototype"
    inner: InnerSettings | None = None

    def __post_init__(self) -> None:
        if (self.head_name == "gradient") != (self.inner is not None):
            raise ValueError("`inner` belongs to the gradient head, which needs it, and to no other")

    @cached_property
    def learner(self) -> Algorithm:
        """What adapts, to standardised vectors."""
        if self.head_name == "prototype":
            return ProtoNet(self.backbone, metric="euclidean")
        if self.head_name == "ridge":
            return Ridge(self.backbone, unit_length=False)
        return _Cautious(self.backbone, metric="euclidean", inner=self.inner or InnerSettings(0, 0.1))

    def init(self) -> Tensors:
        return {
            **self.learner.init(),
            "log_scale": torch.tensor(math.log(10.0)),
            "log_tau": torch.tensor(0.0),
            "log_gamma": torch.tensor(math.log(3.0)),
        }

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
        center, scale, freedom = statistics(features, labels, n_way)
        return {
            "center": center,
            "scale": scale,
            "reach": FAR * (1 + FEW / freedom),
            **self.learner.adapt(
                meta_params,
                standardize(meta_params, center, scale, features),
                labels,
                n_way,
                inner=inner,
                create_graph=create_graph,
                on_step=on_step,
            ),
        }

    def head(self, meta_params: Tensors, adapted: Tensors, features: Tensor) -> Tensor:
        center, scale = adapted["center"], adapted["scale"]
        logits = self.learner.head(meta_params, adapted, standardize(meta_params, center, scale, features))
        z = ((features - center) / (scale * adapted["reach"])).clamp(-WILD, WILD)
        distance = (row_sums(z * z) / features.shape[-1]).sqrt()
        beyond = (distance - 1).clamp(0, 1)
        # Squared distances between vectors of length 1 are 4 at most: after that no threshold is reached.
        return logits - 4 * meta_params["log_scale"].exp() * beyond


def statistics(vectors: Tensor, labels: Tensor, n_way: int) -> tuple[Tensor, Tensor, Tensor]:
    """Centre and scale of each dimension, (d,) both, every class counting the same, and degrees of freedom, ().

    Log-variances shrink towards their mean by as much of their spread as chance explains: a sample variance of
    n degrees of freedom has a log with variance ψ'(n/2) (Smyth 2004, "Linear models and empirical Bayes methods").
    So two examples in 384 like dimensions get one common scale, and the columns of a table keep their units.
    """
    weights = balanced_weights(labels, n_way).double()
    wide = vectors.double()
    center = weights @ wide
    variance = weights @ (wide - center) ** 2
    freedom = 1 / (weights * weights).sum() - 1
    telling = variance > CONSTANT * (weights @ wide**2)
    share = telling.double()
    count = share.sum()
    logs = torch.where(telling, variance, torch.ones_like(variance)).log()
    mean = (share * logs).sum() / count.clamp(min=1)
    spread = (share * (logs - mean) ** 2).sum() / (count - 1).clamp(min=1)
    trust = (1 - trigamma(freedom / 2) / spread.clamp(min=1e-9)).clamp(min=0)
    scale = (0.5 * (mean + trust * share * (logs - mean))).exp()
    return center.to(vectors.dtype), scale.to(vectors.dtype), freedom.to(vectors.dtype)


def trigamma(x: Tensor) -> Tensor:
    """ψ'(x) for x ≥ 1/2 within 1%: two steps of its recurrence, then its series. ONNX has no polygamma."""
    y = x + 2
    return 1 / x**2 + 1 / (x + 1) ** 2 + 1 / y + 1 / (2 * y**2) + 1 / (6 * y**3)


def standardize(meta_params: Tensors, center: Tensor, scale: Tensor, vectors: Tensor) -> Tensor:
    """(n, d) vectors as they came to (n, d) of length at most 1."""
    bound, tau = meta_params["log_gamma"].exp(), meta_params["log_tau"].exp()
    z = bound * torch.tanh((vectors - center) / (bound * scale))
    return z * (row_sums(z * z) + tau * vectors.shape[-1]).rsqrt()
