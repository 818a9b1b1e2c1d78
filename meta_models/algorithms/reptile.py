"""Reptile: move the initialization towards what the inner loop reaches (Nichol et al. 2018, arXiv:1803.02999)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from meta_models.algorithms.inner_loop import inner_loop, inside
from meta_models.algorithms.maml import MAML
from meta_models.algorithms.protocol import Episode, InnerSettings, Tensors, query_loss


@dataclass(frozen=True)
class Reptile(MAML):
    """No second derivatives, no query set: the outer gradient is initialization minus fast_weights (alg. 1).

    In meta-training, each inner step sees another minibatch of the episode, of support and query examples alike:
    the agreement between minibatches is what Reptile learns (section 5.1). No query loss trains a scale of the logits:
    without `inner_scale` there is one, adapted like a weight; with it both stay as they began.
    """

    name: ClassVar[str] = "reptile"

    def __post_init__(self) -> None:
        if self.start == "shared":
            raise ValueError('reptile moves what its steps reach: start = "shared" would learn nothing')

    def meta_loss(
        self, meta_params: Tensors, episode: Episode, *, training: bool, progress: float
    ) -> tuple[Tensor, Tensor]:
        """A loss whose value is the query loss before any step, and whose gradient is (θ - φ) / (inner_lr · steps)."""
        with torch.no_grad():
            start = self.adapt(
                meta_params, episode.support_inputs, episode.support_labels, episode.n_way, inner=InnerSettings(0, 0.0)
            )
            before = query_loss(self.head(meta_params, start, episode.query_inputs), episode.query_labels)
            reached = self._reach(meta_params, start, episode)
        travelled = self.inner.inner_steps * self.inner.inner_lr
        pull = [((meta_params[name] - goal) ** 2).sum() / 2 for name, goal in reached.items() if name in meta_params]
        surrogate = torch.stack(pull).sum() / travelled
        return before[0] + surrogate - surrogate.detach(), before[1]

    def _reach(self, meta_params: Tensors, start: Tensors, episode: Episode) -> Tensors:
        """φ: one step on each minibatch; every `inner_steps`-th example belongs to the same one."""
        inputs = torch.cat([episode.support_inputs, episode.query_inputs])
        labels = torch.cat([episode.support_labels, episode.query_labels])
        steps, fast, known = self.inner.inner_steps, start, inside(meta_params)
        for first in range(steps):
            fast = inner_loop(
                lambda weights, x: self.head(known, weights, x),
                fast,
                inputs[first::steps],
                labels[first::steps],
                episode.n_way,
                InnerSettings(1, self.inner.inner_lr),
                first_order=True,
            )
        return fast

    def _initial(self, meta_params: Tensors, features: Tensor, labels: Tensor, n_way: int) -> Tensors:
        start = super()._initial(meta_params, features, labels, n_way)
        return start if self.inner_scale is not None else {**start, "log_scale": meta_params["log_scale"]}
