"""Networks that learn apart and answer together (deep ensembles, Lakshminarayanan et al. 2017, arXiv:1612.01474)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from meta_models.algorithms.protocol import (
    Episode,
    InnerSettings,
    OnStep,
    Tensors,
    init_backbone,
    loss_of_features,
    n_features,
    with_backbone,
)
from meta_models.algorithms.protonet import ProtoNet, alone
from meta_models.algorithms.set_to_set import init_set_to_set, set_to_set

NEIGHBOURS, SHARE = 3, 0.2
"""Of a class as a hub: the mean of its cosines to so many, and what is taken of it."""


@dataclass(frozen=True)
class Committee(ProtoNet):
    """A Prototypical Network whose feature is those of `members` networks, each of unit length, one after another.

    To one example a class, without `tangents`, the cosine is the mean of the members'. What makes them differ is where
    they began: each learns from its own answers. With `context` the prototypes of an episode see one another while a
    member learns, which makes better features, and no longer once it has learned. With `roots` features are compared by
    their square roots then, as histograms are (Arandjelović & Zisserman 2012, doi:10.1109/CVPR.2012.6248018): features
    of a network that ends with a ReLU. With `hubs`, where every class has one example, a class loses similarity the
    nearer it lies to others, to which their queries come more often (after Conneau et al. 2018, arXiv:1710.04087).
    """

    name: ClassVar[str] = "committee"
    members: int = 2
    context: bool = False
    roots: bool = False
    hubs: bool = False

    def __post_init__(self) -> None:
        if self.metric != "cosine" or self.mirror or self.centred or self.members < 1:
            raise ValueError("a committee has at least one member and compares by cosine, neither mirrored nor centred")

    def init(self) -> Tensors:
        """Each member's tensors as `backbone.0.*`, `backbone.1.*`, …, and by what its prototypes see one another as
        `outer.0.*`, …"""
        members = (init_backbone(self.backbone) for _ in range(self.members))
        tensors = {
            name.replace("backbone", f"backbone.{i}", 1): t for i, one in enumerate(members) for name, t in one.items()
        }
        for i in range(self.members if self.context else 0):
            tensors |= {f"outer.{i}.{name}": t for name, t in init_set_to_set(n_features(self.backbone)).items()}
        return {**tensors, "log_scale": super().init()["log_scale"]}

    def body(self, meta_params: Tensors, inputs: Tensor, *, training: bool = False) -> Tensor:
        return torch.cat(self._answers(meta_params, inputs, training=training), -1) / math.sqrt(self.members)

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
        adapted = super().adapt(meta_params, features, labels, n_way)
        if not self.hubs:
            return adapted
        one_each = alone(features if features.ndim == 2 else features[:, 0], labels, n_way).all()
        return {**adapted, "hubness": one_each * _hubness(adapted["prototypes"])}

    def head(self, meta_params: Tensors, adapted: Tensors, features: Tensor) -> Tensor:
        logits = super().head(meta_params, adapted, features)
        # Held out from several examples a class, and while it learns, it knows no hubs.
        return logits - meta_params["log_scale"].exp() * adapted["hubness"] if "hubness" in adapted else logits

    def meta_loss(
        self, meta_params: Tensors, episode: Episode, *, training: bool, progress: float
    ) -> tuple[Tensor, Tensor]:
        """Mean over the members of each one's query loss, and of its accuracy."""
        inputs = torch.cat([episode.support_inputs, episode.query_inputs])
        answers = self._answers(meta_params, inputs, training=training)
        found = [
            torch.stack(loss_of_features(self, meta_params, features, episode, self._in_context(meta_params, i)))
            for i, features in enumerate(answers)
        ]
        loss, accuracy = torch.stack(found).mean(0)
        return loss, accuracy.detach()

    def _in_context(self, meta_params: Tensors, i: int) -> Callable[[Tensors], Tensors]:
        """What member `i` learns by: its prototypes alone, which see one another where they are to."""

        def seen(adapted: Tensors) -> Tensors:
            prototypes = adapted["prototypes"]
            if self.context:
                prototypes = set_to_set(_own(meta_params, f"outer.{i}."), functional.normalize(prototypes, dim=-1))
            return {"prototypes": prototypes}

        return seen

    def _answers(self, meta_params: Tensors, inputs: Tensor, *, training: bool) -> list[Tensor]:
        """(n, n_features) of unit length, one a member."""
        answers: list[Tensor] = []
        for i in range(self.members):
            own = {f"backbone.{name}": t for name, t in _own(meta_params, f"backbone.{i}.").items()}
            features = with_backbone(self.backbone, own, inputs, training=training).float()
            if self.roots and not training:
                features = functional.relu(features).sqrt()
            answers.append(functional.normalize(features, dim=-1))
        return answers


def _hubness(prototypes: Tensor) -> Tensor:
    """(n_way,) of cosines, zero in the mean: a share of each class's to those nearest to it."""
    unit, n = functional.normalize(prototypes, dim=-1), prototypes.shape[0]  # a graph would take len() for constant
    cosines = unit @ unit.T - 3 * torch.eye(n, device=unit.device)  # no class is its own neighbour
    nobody = cosines.new_full((n, NEIGHBOURS), -2)  # where a class has fewer
    nearest = torch.cat([cosines, nobody], 1).topk(NEIGHBOURS).values
    there = nearest > -1.5
    near = (nearest * there).sum(-1) / there.sum(-1).clamp(min=1)
    return SHARE * (near - near.mean())


def _own(meta_params: Tensors, prefix: str) -> Tensors:
    """Those of one member, without the prefix."""
    return {name.removeprefix(prefix): t for name, t in meta_params.items() if name.startswith(prefix)}
