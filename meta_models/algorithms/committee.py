"""Networks that learn apart and answer together (deep ensembles, Lakshminarayanan et al. 2017, arXiv:1612.01474)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from meta_models.algorithms.protocol import Episode, Tensors, init_backbone, loss_of_features, with_backbone
from meta_models.algorithms.protonet import ProtoNet


@dataclass(frozen=True)
class Committee(ProtoNet):
    """A Prototypical Network whose feature is those of `members` networks, each of unit length, one after another.

    To one example a class the cosine is the mean of the members'. What makes them differ is where they began: each
    learns from its own answers.
    """

    name: ClassVar[str] = "committee"
    members: int = 2

    def __post_init__(self) -> None:
        if self.metric != "cosine" or self.mirror or self.centred or self.members < 1:
            raise ValueError("a committee has at least one member and compares by cosine, neither mirrored nor centred")

    def init(self) -> Tensors:
        """Each member's tensors as `backbone.0.*`, `backbone.1.*`, …"""
        members = (init_backbone(self.backbone) for _ in range(self.members))
        tensors = {
            name.replace("backbone", f"backbone.{i}", 1): t for i, one in enumerate(members) for name, t in one.items()
        }
        return {**tensors, "log_scale": super().init()["log_scale"]}

    def body(self, meta_params: Tensors, inputs: Tensor, *, training: bool = False) -> Tensor:
        return torch.cat(self._answers(meta_params, inputs, training=training), -1) / math.sqrt(self.members)

    def meta_loss(
        self, meta_params: Tensors, episode: Episode, *, training: bool, progress: float
    ) -> tuple[Tensor, Tensor]:
        """Mean over the members of each one's query loss, and of its accuracy."""
        inputs = torch.cat([episode.support_inputs, episode.query_inputs])
        answers = self._answers(meta_params, inputs, training=training)
        found = [torch.stack(loss_of_features(self, meta_params, features, episode)) for features in answers]
        loss, accuracy = torch.stack(found).mean(0)
        return loss, accuracy.detach()

    def _answers(self, meta_params: Tensors, inputs: Tensor, *, training: bool) -> list[Tensor]:
        """(n, n_features) of unit length, one a member."""
        answers: list[Tensor] = []
        for i in range(self.members):
            prefix = f"backbone.{i}."
            own = {n.replace(prefix, "backbone.", 1): t for n, t in meta_params.items() if n.startswith(prefix)}
            features = with_backbone(self.backbone, own, inputs, training=training)
            answers.append(functional.normalize(features.float(), dim=-1))
        return answers
