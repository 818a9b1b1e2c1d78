"""Model-Agnostic Meta-Learning (Finn et al. 2017, arXiv:1703.03400) with a head for any number of classes.

The head starts from the class means (Proto-MAML, Triantafillou et al. 2020, arXiv:1903.03096), so zero
inner steps are a prototypical network; or from one learned vector for every class (UNICORN-MAML, Ye & Chao 2022,
arXiv:2106.16245). Either way labels or their order never matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from meta_models.algorithms.bodies import OwnBody
from meta_models.algorithms.inner_loop import CHUNK, Update, inner_loop, inside, scale_params
from meta_models.algorithms.protocol import (
    InnerSettings,
    OnStep,
    Tensors,
    class_means,
    init_backbone,
    n_features,
)


@dataclass(frozen=True)
class MAML(OwnBody):
    """Every weight of the backbone and the head are adapted; normalisation statistics are not.

    `first_order` drops second derivatives (FOMAML). `start="shared"` is UNICORN-MAML: the rows of the head are
    one vector, told apart by the first step. They count by their direction, because softmax cannot see what
    all rows of a linear head have in common, and the vector would learn nothing. `inner_scale` is what a scale of the
    inner loop's own begins from (`scale_params`).
    """

    name: ClassVar[str] = "maml"
    inner: InnerSettings = InnerSettings(inner_steps=5, inner_lr=0.01)  # noqa: RUF009 - immutable
    first_order: bool = False
    start: Literal["prototypes", "shared"] = "prototypes"
    inner_scale: float | None = None

    def init(self) -> Tensors:
        meta_params = {**init_backbone(self.backbone), **scale_params(self.inner_scale)}
        if self.start == "shared":
            meta_params["row"] = functional.normalize(torch.randn(n_features(self.backbone)), dim=0)
        return meta_params

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
        known = inside(meta_params)
        return inner_loop(
            lambda fast, inputs: self.head(known, fast, inputs),
            self._initial(meta_params, features, labels, n_way),
            features,
            labels,
            n_way,
            inner or self.inner,
            update=self._update(meta_params, inner or self.inner),
            first_order=self.first_order or not create_graph,
            on_step=on_step,
        )

    def head(self, meta_params: Tensors, adapted: Tensors, features: Tensor) -> Tensor:
        tensors = {**meta_params, **adapted}
        rows = tensors["prototypes"]
        if self.start == "shared":
            rows = functional.normalize(rows, dim=-1)
        return tensors["log_scale"].exp() * self._directions(tensors, features) @ rows.T

    def _initial(self, meta_params: Tensors, features: Tensor, labels: Tensor, n_way: int) -> Tensors:
        """What the inner loop starts from: the backbone's weights and `prototypes`, one row a class."""
        start = {name: t for name, t in meta_params.items() if self._is_adapted(name)}
        if self.start == "shared":
            return {**start, "prototypes": meta_params["row"].expand(n_way, -1)}
        directions = torch.cat([self._directions(meta_params, part) for part in features.split(CHUNK)])
        return {**start, "prototypes": functional.normalize(class_means(directions, labels, n_way), dim=-1)}

    def _update(self, meta_params: Tensors, inner: InnerSettings) -> Update | None:
        """How a step moves the weights; None is gradient descent."""
        return None

    def _is_adapted(self, name: str) -> bool:
        return name.startswith("backbone.") and not name.endswith(("running_mean", "running_var"))
