"""Almost No Inner Loop: only the head takes gradient steps (Raghu et al. 2020, arXiv:1909.09157).

The head starts from the class means (Proto-MAML, Triantafillou et al. 2020, arXiv:1903.03096), so zero
inner steps are a prototypical network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional

from meta_models.algorithms.bodies import SharedBody
from meta_models.algorithms.inner_loop import Update, inner_loop, inside, scale_params
from meta_models.algorithms.protocol import InnerSettings, OnStep, Tensors, class_means, init_backbone, row_sums


@dataclass(frozen=True)
class ANIL(SharedBody):
    """MAML with the backbone shared by all adapted models: an adapted model is one vector a class.

    `metric="euclidean"` has a bias too: 2c and -|c|² give minus squared distances to the prototypes c, up to the
    |f|² that all classes share (Triantafillou et al. 2020, eq. 3). `inner_scale` is what a scale of the inner loop's
    own begins from (`scale_params`).
    """

    name: ClassVar[str] = "anil"
    metric: Literal["euclidean", "cosine"] = "cosine"
    inner: InnerSettings = InnerSettings(inner_steps=5, inner_lr=0.1)  # noqa: RUF009 - immutable
    first_order: bool = False
    inner_scale: float | None = None

    def init(self) -> Tensors:
        return {**init_backbone(self.backbone), **scale_params(self.inner_scale)}

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
            lambda fast, x: self.head(known, fast, x),
            self._initial(features, labels, n_way),
            features,
            labels,
            n_way,
            inner or self.inner,
            update=self._update(meta_params, inner or self.inner),
            first_order=self.first_order or not create_graph,
            on_step=on_step,
        )

    def head(self, meta_params: Tensors, adapted: Tensors, features: Tensor) -> Tensor:
        scale = meta_params["log_scale"].exp()
        if self.metric == "cosine":
            return scale * functional.normalize(features, dim=-1) @ adapted["prototypes"].T
        return scale * (features @ adapted["weights"].T + adapted["bias"] - row_sums(features * features))

    def _initial(self, features: Tensor, labels: Tensor, n_way: int) -> Tensors:
        if self.metric == "cosine":
            directions = functional.normalize(features, dim=-1)
            return {"prototypes": functional.normalize(class_means(directions, labels, n_way), dim=-1)}
        means = class_means(features, labels, n_way)
        return {"weights": 2 * means, "bias": -(means * means).sum(-1)}

    def _update(self, meta_params: Tensors, inner: InnerSettings) -> Update | None:
        """How a step moves the head; None is gradient descent."""
        return None
