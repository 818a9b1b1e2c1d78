"""Ridge regression as the learner: the head in closed form (R2D2, Bertinetto et al. 2019, arXiv:1805.08136)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from meta_models.algorithms.bodies import SharedBody
from meta_models.algorithms.inner_loop import balanced_weights
from meta_models.algorithms.protocol import (
    InnerSettings,
    OnStep,
    Tensors,
    init_backbone,
    memberships,
)


@dataclass(frozen=True)
class Ridge(SharedBody):
    """W = (XᵀX + λI)⁻¹ XᵀY on one-hot Y (eq. 4), logits α·xW (eq. 7); λ and α are learned.

    Features have unit length unless told otherwise. A constant β is appended to each: its size, learned too, says how
    freely the intercept may move. (The paper adds its β to every logit, which softmax cannot see.)
    """

    name: ClassVar[str] = "ridge"
    unit_length: bool = True
    inner: InnerSettings | None = None

    def init(self) -> Tensors:
        return {
            **init_backbone(self.backbone),
            "log_lambda": torch.tensor(0.0),
            "log_scale": torch.tensor(math.log(10.0)),
            "constant": torch.tensor(1.0),
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
        # Rows weigh what balances the classes, 1 on average: X and Y times the roots of the weights.
        roots = (len(labels) * balanced_weights(labels, n_way)).sqrt()[:, None]
        directions = self._directions(features)
        constant = meta_params["constant"]
        x = roots * torch.cat([directions, constant.expand(len(directions), 1)], dim=1)
        y = roots * memberships(labels, n_way)
        solved = solve_ridge(x, y, meta_params["log_lambda"].exp())
        return {"weights": solved[:-1].T, "intercepts": constant * solved[-1]}

    def head(self, meta_params: Tensors, adapted: Tensors, features: Tensor) -> Tensor:
        return meta_params["log_scale"].exp() * (
            self._directions(features) @ adapted["weights"].T + adapted["intercepts"]
        )

    def _directions(self, features: Tensor) -> Tensor:
        return functional.normalize(features, dim=-1) if self.unit_length else features


def solve_ridge(x: Tensor, y: Tensor, penalty: Tensor) -> Tensor:
    """(n, d) and (n, k) to the (d, k) weights that minimise |xw - y|² + penalty · |w|².

    With fewer rows than columns, Woodbury's identity (eq. 5) solves an n×n system instead of a d×d one.
    """
    n, d = x.shape
    if n < d:
        return x.T @ torch.linalg.solve(x @ x.T + penalty * torch.eye(n, dtype=x.dtype, device=x.device), y)
    return torch.linalg.solve(x.T @ x + penalty * torch.eye(d, dtype=x.dtype, device=x.device), x.T @ y)
