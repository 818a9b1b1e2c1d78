"""Prototypical Networks: classify by the nearest class mean (Snell et al. 2017, arXiv:1703.05175)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from meta_models.algorithms import tangents
from meta_models.algorithms.bodies import SharedBody
from meta_models.algorithms.protocol import (
    InnerSettings,
    OnStep,
    Tensors,
    class_means,
    init_backbone,
    memberships,
    n_features,
    row_sums,
)

CENTRE = "features.running_mean"


@dataclass(frozen=True)
class ProtoNet(SharedBody):
    """Logits are minus squared distances (eq. 2) or scaled cosines to the class means (eq. 1).

    `metric="cosine"` learns the scale with the backbone (Gidaris & Komodakis 2018, arXiv:1804.09458). With `mirror` a
    feature is the mean of a picture's and its mirror image's, each of unit length, once the backbone is trained. With
    `centred` features of unit length lose the mean of the training classes' (Wang et al. 2019, arXiv:1911.04623). With
    `tangents` prototypes lose what turns and shears of an only example change (`tangents.py`).
    """

    name: ClassVar[str] = "protonet"
    metric: Literal["euclidean", "cosine"] = "cosine"
    mirror: bool = False
    centred: bool = False
    tangents: bool = False
    inner: InnerSettings | None = None

    def __post_init__(self) -> None:
        if self.tangents and self.metric != "cosine":
            raise ValueError('tangents: of prototypes compared by cosine; let metric be "cosine" or leave it out')

    @property
    def n_support_views(self) -> int:
        return tangents.N_VIEWS if self.tangents else 0

    def support_views(self, inputs: Tensor) -> Tensor:
        return tangents.views(inputs)

    def init(self) -> Tensors:
        scale = 10.0 if self.metric == "cosine" else 1.0
        own = {"log_scale": torch.tensor(math.log(scale))}
        if self.centred:
            own[CENTRE] = torch.zeros(n_features(self.backbone))
        return {**init_backbone(self.backbone), **own}

    def body(self, meta_params: Tensors, inputs: Tensor, *, training: bool = False) -> Tensor:
        if training:
            return super().body(meta_params, inputs, training=True)
        if self.mirror:
            both = super().body(meta_params, torch.cat([inputs, inputs.flip(3)])).float()
            features = functional.normalize(both, dim=-1).unflatten(0, (2, -1)).mean(0)
        else:
            features = super().body(meta_params, inputs)
        return functional.normalize(features, dim=-1) - meta_params[CENTRE] if self.centred else features

    def settle(self, meta_params: Tensors, features: Callable[[], Tensor]) -> Tensors:
        return {**meta_params, CENTRE: meta_params[CENTRE] + features().mean(0)} if self.centred else meta_params

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
        own, along = self._seen(features, labels, n_way)
        prototypes = class_means(own, labels, n_way)
        return {"prototypes": prototypes if along is None else tangents.without(prototypes, along)}

    def held_out(self, meta_params: Tensors, features: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """Without its example x a class of n with the sum s has the prototype (s - x) / (n - 1); the others stay.

        What views change of examples alone in their class stays what it was: of a class of two the other one is not
        seen in views. Nor is any class a hub (`committee.py`), even where every class has one example left.
        """
        if len(labels) == n_way:  # nothing can be held out, and finding that out should cost nothing
            return features.new_full((n_way, n_way), math.nan, dtype=torch.float32)
        x, along = self._seen(features, labels, n_way)
        members = memberships(labels, n_way)
        sums, counts = members.T @ x, members.sum(0)
        own, others = sums[labels] - x, counts[labels, None] - 1
        if along is not None:
            sums, own = tangents.without(sums, along), tangents.without(own, along)
        logits = self.head(meta_params, {"prototypes": sums / counts[:, None]}, x)
        if self.metric == "cosine":
            without = (x * functional.normalize(own, dim=-1)).sum(-1)
        else:
            without = -((x - own / others) ** 2).sum(-1)
        logits[torch.arange(len(labels), device=labels.device), labels] = meta_params["log_scale"].exp() * without
        return logits.masked_fill(others == 0, math.nan)

    def _seen(self, features: Tensor, labels: Tensor, n_way: int) -> tuple[Tensor, Tensor | None]:
        """(n, d) of the examples, and by what (m, d) views differ of those whose classes have no other but copies of
        them; None where there are no views."""

        def unit(some: Tensor) -> Tensor:
            return functional.normalize(some.float(), dim=-1) if self.metric == "cosine" else some.float()

        if features.ndim == 2:
            return unit(features), None
        own = features[:, 0]
        only = unit(features[memberships(labels, n_way).argmax(0)[alone(own, labels, n_way)]])
        return unit(own), (only[:, 1:] - only[:, :1]).flatten(0, 1)

    def head(self, meta_params: Tensors, adapted: Tensors, features: Tensor) -> Tensor:
        prototypes, scale = adapted["prototypes"], meta_params["log_scale"].exp()
        if self.metric == "cosine":
            return scale * functional.normalize(features, dim=-1) @ functional.normalize(prototypes, dim=-1).T
        # -|f - c|² without the term every class shares.
        return scale * (2 * features @ prototypes.T - (prototypes * prototypes).sum(-1) - row_sums(features * features))


def alone(features: Tensor, labels: Tensor, n_way: int) -> Tensor:
    """(n_way,) of bool: the classes that have one example, but for copies of it."""
    members = memberships(labels, n_way)
    return members.T @ (features != features[members.argmax(0)[labels]]).any(1).float() == 0
