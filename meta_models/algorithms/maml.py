"""Model-Agnostic Meta-Learning (Finn et al. 2017, arXiv:1703.03400) with a head for any number of classes.

The head starts from the class means (Proto-MAML, Triantafillou et al. 2020, arXiv:1903.03096), so zero
inner steps are a prototypical network, and labels or their order never matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from meta_models.algorithms.inner_loop import CHUNK, inner_loop
from meta_models.algorithms.protocol import InnerSettings, OnStep, Tensors, class_means, init_backbone, with_backbone


@dataclass(frozen=True)
class MAML:
    """Every weight of the backbone and the head are adapted; normalisation statistics are not.

    `first_order` drops second derivatives (FOMAML).
    """

    name: ClassVar[str] = "maml"
    shares_body = False
    backbone: nn.Module
    inner: InnerSettings = InnerSettings(inner_steps=5, inner_lr=0.01)  # noqa: RUF009 - immutable
    first_order: bool = False

    def init(self) -> Tensors:
        return {**init_backbone(self.backbone), "log_scale": torch.tensor(math.log(10.0))}

    def body(self, meta_params: Tensors, inputs: Tensor, *, training: bool = False) -> Tensor:
        return inputs

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
        directions = torch.cat([self._directions(meta_params, part) for part in features.split(CHUNK)])
        start = {name: t for name, t in meta_params.items() if self._is_adapted(name)}
        start["prototypes"] = functional.normalize(class_means(directions, labels, n_way), dim=-1)
        return inner_loop(
            lambda fast, inputs: self.head(meta_params, fast, inputs),
            start,
            features,
            labels,
            n_way,
            inner or self.inner,
            first_order=self.first_order or not create_graph,
            on_step=on_step,
        )

    def head(self, meta_params: Tensors, adapted: Tensors, features: Tensor) -> Tensor:
        directions = self._directions({**meta_params, **adapted}, features)
        return meta_params["log_scale"].exp() * directions @ adapted["prototypes"].T

    def _directions(self, tensors: Tensors, inputs: Tensor) -> Tensor:
        return functional.normalize(with_backbone(self, tensors, inputs), dim=-1)

    @staticmethod
    def _is_adapted(name: str) -> bool:
        return name.startswith("backbone.") and not name.endswith(("running_mean", "running_var"))
