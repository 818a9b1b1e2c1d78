"""Holds examples out of their own support set and asks the meta-model about them. No Redis, no Celery."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adapter.models import Adaptation
from adapter.quality import Quality, judge
from adapter.support_set import SupportSet
from meta_models.algorithms import InnerSettings
from meta_models.torch_model import Features, TorchModel

FOLDS = 5

GoOn = Callable[..., None]


def leave_one_out(model: TorchModel, support: SupportSet, features: Features, temperature: float) -> Quality | None:
    """Exact, where there is a closed form; None for every other algorithm."""
    logits = model.held_out(features, support.labels, len(support.classes))
    return None if logits is None else judge(support, logits, temperature, "leave_one_out")


def cross_validate(
    model: TorchModel,
    support: SupportSet,
    features: Features,
    settings: Adaptation,
    temperature: float,
    go_on: GoOn | None = None,
) -> Quality:
    """Adapt to four fifths of each class and ask about the rest, five times; `go_on` is called before each time and
    each inner step, and may raise.

    Where every weight is adapted, no inner steps are taken: five whole adaptations would cost more than the model.
    """
    inner: InnerSettings | None = None
    if settings.inner_steps is not None and settings.inner_lr is not None:
        inner = InnerSettings(0 if model.adapts_backbone else settings.inner_steps, settings.inner_lr)
    n_way, folds = len(support.classes), fold_of(support)
    logits = np.full((len(folds), n_way), np.nan, np.float32)
    for fold in range(FOLDS):
        held, kept = folds == fold, folds != fold
        if held.any():
            if go_on:
                go_on()
            adapted = model.adapt(features[kept], support.labels[kept], n_way, inner, go_on)
            logits[held] = model.logits(adapted, features[held])
    stepped = not model.adapts_backbone or not settings.inner_steps
    method = "cross_validation" if stepped else "cross_validation_without_inner_steps"
    return judge(support, logits, temperature, method, FOLDS)


def fold_of(support: SupportSet) -> NDArray[np.int64]:
    """(n_examples,) fold of each example, dealt out class by class; -1 for the only one of a class."""
    return np.concatenate([np.arange(n) % FOLDS if n > 1 else [-1] for n in support.counts])
