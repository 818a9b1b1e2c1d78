"""The pure function that adapts: a meta-model and a support set to adapted tensors. No Redis, no Celery."""

from __future__ import annotations

import numpy as np

from adapter.models import Adaptation
from adapter.support_set import SupportSet
from meta_models.algorithms import InnerSettings
from meta_models.algorithms.protocol import OnStep
from meta_models.torch_model import Arrays, Features, TorchModel


class AdaptationDivergedError(ArithmeticError):
    """The inner loop produced numbers that are not finite."""


def adapt(
    model: TorchModel,
    support: SupportSet,
    features: Features,
    settings: Adaptation,
    *,
    on_step: OnStep | None = None,
) -> Arrays:
    """Adapt to a support set in canonical order; the same arguments give the same tensors.

    `features` are what it reads of the support inputs (`support_features`); `on_step` is told (step, support loss)
    before each inner step.

    Raises:
        AdaptationDivergedError: `inner_lr` was too large for this support set.
    """
    inner = None
    if settings.inner_steps is not None and settings.inner_lr is not None:
        inner = InnerSettings(settings.inner_steps, settings.inner_lr)
    adapted = model.adapt(features, support.labels, len(support.classes), inner, on_step)
    if not all(np.isfinite(tensor).all() for tensor in adapted.values()):
        raise AdaptationDivergedError(
            f"the inner loop diverged: inner_lr {settings.inner_lr}, {settings.inner_steps} steps; lower inner_lr"
        )
    return adapted
