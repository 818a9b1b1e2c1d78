"""Holds examples out of their own support set and asks the meta-model about them. No Redis, no Celery.

Copies of an example count once: one of them held out would be asked about while the others are there.
"""

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
    """Where there is a closed form, exact but for views and hubs (`ProtoNet.held_out`); None for the others."""
    once, n_way = ~support.is_copy, len(support.classes)
    found = model.held_out(features[once], support.labels[once], n_way)
    if found is None:
        return None
    logits = np.full((len(once), n_way), np.nan, np.float32)
    logits[once] = found
    return judge(support, logits, temperature, "leave_one_out")


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
        held, kept = folds == fold, (folds != fold) & ~support.is_copy
        if held.any():
            if go_on:
                go_on()
            adapted = model.adapt(features[kept], support.labels[kept], n_way, inner, go_on)
            logits[held] = model.logits(adapted, features[held])
    stepped = not model.adapts_backbone or not settings.inner_steps
    method = "cross_validation" if stepped else "cross_validation_without_inner_steps"
    return judge(support, logits, temperature, method, FOLDS)


def fold_of(support: SupportSet) -> NDArray[np.int64]:
    """(n_examples,) fold of each example, dealt out class by class; -1 for copies and for the only one of a class."""
    folds = np.full(len(support.labels), -1)
    for label in range(len(support.classes)):
        rows = np.flatnonzero((support.labels == label) & ~support.is_copy)
        if len(rows) > 1:
            folds[rows] = np.arange(len(rows)) % FOLDS
    return folds
