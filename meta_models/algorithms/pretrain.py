"""Multi-task pre-training: one classifier over all training classes poured together.

The baseline that meta-learning must beat (Chen et al. 2019, "A closer look at few-shot classification",
arXiv:1904.04232; its Baseline++ classifies by cosine, as here).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from meta_models.algorithms.initialization import Initialization, poured
from meta_models.algorithms.protocol import (
    Episode,
    Tensors,
    full_precision,
    n_features,
    query_loss,
    with_backbone,
)

_TEMPERATURE = 4.0


@dataclass(frozen=True)
class Pretrain(Initialization):
    """`n_classes` counts the training classes, each under each of the eight symmetries; the classifier stays behind."""

    name: ClassVar[str] = "pretrain"
    n_classes: int = 8

    def init(self) -> Tensors:
        rows = torch.randn(self.n_classes, n_features(self.backbone))
        return {**super().init(), "outer.rows": functional.normalize(rows, dim=-1)}

    def class_logits(self, meta_params: Tensors, inputs: Tensor, *, training: bool) -> Tensor:
        """(n, *input_shape) to logits (n, n_classes)."""
        features = with_backbone(self.backbone, meta_params, inputs, training=training).float()
        with full_precision(features):
            rows = functional.normalize(meta_params["outer.rows"], dim=-1)
            return meta_params["log_scale"].exp() * functional.normalize(features, dim=-1) @ rows.T

    def meta_loss(
        self, meta_params: Tensors, episode: Episode, *, training: bool, progress: float
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy over all classes; half of the loss is a teacher's, where the episode has its answers.

        Raises:
            ValueError: the pool has more classes than the classifier, or the episode does not name its classes.
        """
        if episode.class_ids is None:
            raise ValueError("pre-training needs episodes that say which classes of the pool they hold")
        recorded = episode.class_ids.is_cuda and torch.cuda.is_current_stream_capturing()
        if not recorded and int(episode.class_ids.max()) >= self.n_classes:
            raise ValueError(f"class {int(episode.class_ids.max())} in a classifier of n_classes = {self.n_classes}")
        inputs, labels = poured(episode)
        logits = self.class_logits(meta_params, inputs, training=training)
        loss, accuracy = query_loss(logits, episode.class_ids[labels])
        if episode.taught is not None:
            loss = (loss + distance(logits, episode.taught)) / 2
        return loss, accuracy


def distance(logits: Tensor, taught: Tensor) -> Tensor:
    """Mean over examples of KL(taught ‖ logits), both (n, n_classes), softened and weighed as in Hinton et al. (2015,
    arXiv:1503.02531, section 2)."""
    ours, theirs = (functional.log_softmax(rows / _TEMPERATURE, dim=-1) for rows in (logits, taught))
    return _TEMPERATURE**2 * functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
