"""One vector a class, from examples and the class's name: half its prototype, half a ridge regression's row.

A class name that says what the class is about is worth examples. Adaptive Cross-Modal few-shot learning (Xing et al.
2019, arXiv:1902.07104, eq. 5) mixes a prototype with an embedding of its name; here the name counts as λ examples, so
that it fades as examples come (a Gaussian prior on the class mean), and only as far as the names agree with the
examples: `class 1` and names that went to the wrong classes say nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from meta_models.algorithms.bodies import SharedBody
from meta_models.algorithms.inner_loop import balanced_weights
from meta_models.algorithms.protocol import InnerSettings, OnStep, Tensors, class_means, init_backbone, memberships
from meta_models.algorithms.ridge import solve_ridge


@dataclass(frozen=True)
class Named(SharedBody):
    """p = (Σ x + λ t n) / (k + λ t) of k examples x and a name n, all of unit length, and W the ridge regression
    (R2D2, arXiv:1805.08136, eq. 4) on the same rows, a name's weighing λ t; logits are α x·((1 - μ) p/|p| + μ W).

    Features are (n, d), or (n, 2, d) where each example has its class name beside it, zero where there is none.
    t = sigmoid((m - m₀) / τ): m is how much nearer the names are to their own class's examples than to the others'.
    Learned: α, λ, m₀ and τ.
    """

    name: ClassVar[str] = "named"
    mix: float = 0.5
    """μ: 0 leaves prototypes."""
    penalty: float = 0.3
    inner: InnerSettings | None = None

    def init(self) -> Tensors:
        return {
            **init_backbone(self.backbone),
            "log_scale": torch.tensor(math.log(15.0)),
            "log_worth": torch.tensor(0.0),
            "margin": torch.tensor(0.08),
            "log_width": torch.tensor(math.log(0.03)),
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
        examples = functional.normalize(features[:, 0] if features.ndim == 3 else features, dim=-1)
        means = class_means(examples, labels, n_way)
        names, worth = torch.zeros_like(means), means.new_zeros(())
        if features.ndim == 3:
            names = class_means(functional.normalize(features[:, 1], dim=-1), labels, n_way)
            worth = meta_params["log_worth"].exp() * trust(meta_params, means, names)
        counts = memberships(labels, n_way).sum(0)[:, None]
        prototypes = functional.normalize(counts * means + worth * names, dim=-1)
        return {"weights": (1 - self.mix) * prototypes + self.mix * self._ridge(examples, labels, n_way, names, worth)}

    def head(self, meta_params: Tensors, adapted: Tensors, features: Tensor) -> Tensor:
        texts = features[:, 0] if features.ndim == 3 else features
        return meta_params["log_scale"].exp() * functional.normalize(texts, dim=-1) @ adapted["weights"].T

    def _ridge(self, examples: Tensor, labels: Tensor, n_way: int, names: Tensor, worth: Tensor) -> Tensor:
        """(n_way, d): each example weighs what balances the classes, 1 on average."""
        roots = torch.cat([len(labels) * balanced_weights(labels, n_way), worth.expand(n_way)]).sqrt()[:, None]
        members = torch.cat([memberships(labels, n_way), torch.eye(n_way, device=labels.device)])
        penalty = examples.new_tensor(self.penalty)
        return solve_ridge(roots * torch.cat([examples, names]), roots * members, penalty).T


def trust(meta_params: Tensors, means: Tensor, names: Tensor) -> Tensor:
    """In [0, 1], from class means and names (n_way, d): near 1 where names are near their own classes' examples."""
    return torch.sigmoid((agreement(means, names) - meta_params["margin"]) / meta_params["log_width"].exp())


def agreement(means: Tensor, names: Tensor) -> Tensor:
    """How much nearer names (n_way, d) are to their own class's examples than to the others', in cosines."""
    near = functional.normalize(names, dim=-1) @ functional.normalize(means, dim=-1).T
    own = near.diagonal().mean()
    others = (near.sum() - near.diagonal().sum()) / (near.numel() - len(near))
    return own - others
