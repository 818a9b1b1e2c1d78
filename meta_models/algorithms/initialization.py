"""Baselines: an initialization that no episode of adapting taught, adapted all the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from meta_models.algorithms.anil import ANIL
from meta_models.algorithms.maml import MAML
from meta_models.algorithms.protocol import Episode, InnerSettings, OnStep, Tensors


@dataclass(frozen=True)
class Initialization:
    """Learned in one way, adapted in another: ANIL's inner loop for the head alone, MAML's for every weight.

    What is learned beforehand is the subclass's `meta_loss`.
    """

    backbone: nn.Module
    adapts: Literal["head", "all"] = "head"
    inner: InnerSettings = InnerSettings(inner_steps=20, inner_lr=0.05)  # noqa: RUF009 - immutable

    @property
    def shares_body(self) -> bool:
        return self._learner.shares_body

    @property
    def _learner(self) -> ANIL | MAML:
        return (ANIL if self.adapts == "head" else MAML)(backbone=self.backbone, inner=self.inner)

    def init(self) -> Tensors:
        return self._learner.init()

    def body(self, meta_params: Tensors, inputs: Tensor, *, training: bool = False) -> Tensor:
        return self._learner.body(meta_params, inputs, training=training)

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
        return self._learner.adapt(
            meta_params, features, labels, n_way, inner=inner, create_graph=create_graph, on_step=on_step
        )

    def head(self, meta_params: Tensors, adapted: Tensors, features: Tensor) -> Tensor:
        return self._learner.head(meta_params, adapted, features)


def poured(episode: Episode) -> tuple[Tensor, Tensor]:
    """Support and query examples together, (n, *input_shape), and their labels (n,)."""
    return (
        torch.cat([episode.support_inputs, episode.query_inputs]),
        torch.cat([episode.support_labels, episode.query_labels]),
    )
