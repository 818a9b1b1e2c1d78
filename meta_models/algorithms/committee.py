"""Networks that learn apart and answer together (deep ensembles, Lakshminarayanan et al. 2017, arXiv:1612.01474)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from meta_models.algorithms.protocol import Episode, Tensors, full_precision, init_backbone, query_loss
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
        return {**tensors, "log_scale": torch.tensor(math.log(10.0))}

    def body(self, meta_params: Tensors, inputs: Tensor, *, training: bool = False) -> Tensor:
        return torch.cat(self._answers(meta_params, inputs, training=training), -1) / math.sqrt(self.members)

    def meta_loss(
        self, meta_params: Tensors, episode: Episode, *, training: bool, progress: float
    ) -> tuple[Tensor, Tensor]:
        """Mean over the members of each one's query loss, and of its accuracy."""
        n_support = len(episode.support_labels)
        inputs = torch.cat([episode.support_inputs, episode.query_inputs])
        found: list[Tensor] = []
        for features in self._answers(meta_params, inputs, training=training):
            with full_precision(features):
                adapted = self.adapt(meta_params, features[:n_support], episode.support_labels, episode.n_way)
                logits = self.head(meta_params, adapted, features[n_support:])
                found.append(torch.stack(query_loss(logits, episode.query_labels)))
        loss, accuracy = torch.stack(found).mean(0)
        return loss, accuracy.detach()

    def _answers(self, meta_params: Tensors, inputs: Tensor, *, training: bool) -> list[Tensor]:
        """(n, n_features) of unit length, one a member."""
        network, answers = self.backbone.train(training), list[Tensor]()
        for i in range(self.members):
            prefix = f"backbone.{i}."
            own = {name.removeprefix(prefix): t for name, t in meta_params.items() if name.startswith(prefix)}
            answers.append(functional.normalize(functional_call(network, own, (inputs,)).float(), dim=-1))
        return answers
