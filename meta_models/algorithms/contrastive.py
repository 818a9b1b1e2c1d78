"""Self-supervised initialization: views of one image attract (SimCLR, Chen et al. 2020, arXiv:2002.05709)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from meta_models.algorithms.initialization import Initialization, poured
from meta_models.algorithms.protocol import Episode, Tensors, full_precision, n_features, with_backbone


@dataclass(frozen=True)
class Contrastive(Initialization):
    """Meant for episodes with `instances = true`, where every image is a class of its own and no label is used.

    With labelled episodes the same loss is supervised contrastive learning (Khosla et al. 2020, arXiv:2004.11362).
    The projection stays behind.
    """

    name: ClassVar[str] = "contrastive"

    def init(self) -> Tensors:
        d = n_features(self.backbone)
        first, last = nn.Linear(d, d), nn.Linear(d, d, bias=False)
        return {
            **super().init(),
            "outer.first": first.weight.detach().clone(),
            "outer.first_bias": first.bias.detach().clone(),
            "outer.last": last.weight.detach().clone(),
        }

    def meta_loss(
        self, meta_params: Tensors, episode: Episode, *, training: bool, progress: float
    ) -> tuple[Tensor, Tensor]:
        """NT-Xent (eq. 1) for any number of views: each view's mean loss over the other views of its image.

        The inverse temperature is the learned scale of the head. The accuracy: how often the nearest other view
        is one of the same image.
        """
        inputs, labels = poured(episode)
        features = with_backbone(self.backbone, meta_params, inputs, training=training).float()
        with full_precision(features):
            hidden = torch.relu(
                functional.linear(features, meta_params["outer.first"], meta_params["outer.first_bias"])
            )
            views = functional.normalize(functional.linear(hidden, meta_params["outer.last"]), dim=-1)
            itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
            logits = (meta_params["log_scale"].exp() * views @ views.T).masked_fill(itself, -math.inf)
            same = (labels[:, None] == labels) & ~itself
            log_share = logits.log_softmax(1).masked_fill(~same, 0.0)
            loss = -(log_share.sum(1) / same.sum(1)).mean()
            nearest = logits.detach().argmax(1)
        return loss, (labels[nearest] == labels).float().mean()
