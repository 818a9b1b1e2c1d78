"""Holds examples out of their own support set and asks the meta-model about them. No Redis, no Celery."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adapter.models import Adaptation
from adapter.quality import Quality, judge
from adapter.support_set import SupportSet
from meta_models.algorithms import InnerSettings
from meta_models.torch_model import Arrays, Features, TorchModel

FOLDS = 5
CHUNK = 64
"""Examples whose own prototypes are compared with them at once."""


def leave_one_out(
    model: TorchModel, support: SupportSet, features: Features, adapted: Arrays, temperature: float
) -> Quality | None:
    """Exact and closed-form where adapting is averaging; None for every other algorithm.

    Holding example i out moves the prototype of its own class c alone, to (n_c p_c - x_i) / (n_c - 1), x_i
    being what the example adds to the mean. Everything else was computed for adapting already.
    """
    if set(adapted) != {"prototypes"}:
        return None
    labels, counts = support.labels, np.array(support.counts)
    if counts.max() == 1:  # nothing can be held out, and finding that out should cost nothing
        return judge(support, np.full((len(labels), len(counts)), np.nan, np.float32), temperature, "leave_one_out")
    terms = _terms(model, features)
    sums = np.stack([part.sum(0) for part in np.split(terms, np.cumsum(counts)[:-1])])
    if not np.allclose(sums / counts[:, None], adapted["prototypes"], rtol=1e-3, atol=1e-5):
        return None  # its prototypes are no plain means
    logits = model.logits(adapted, features).copy()
    logits[counts[labels] == 1] = np.nan
    rows = np.flatnonzero(counts[labels] > 1)
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        own = labels[part]
        prototypes = (sums[own] - terms[part]) / (counts[own, None] - 1).astype(np.float32)
        logits[part, own] = np.diagonal(model.logits({"prototypes": prototypes}, features[part]))
    return judge(support, logits, temperature, "leave_one_out")


def cross_validate(
    model: TorchModel, support: SupportSet, features: Features, settings: Adaptation, temperature: float
) -> Quality:
    """Adapt to four fifths of each class and ask about the rest, five times.

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
            adapted = model.adapt(features[kept], support.labels[kept], n_way, inner)
            logits[held] = model.logits(adapted, features[held])
    stepped = not model.adapts_backbone or not settings.inner_steps
    method = "cross_validation" if stepped else "cross_validation_without_inner_steps"
    return judge(support, logits, temperature, method, FOLDS)


def fold_of(support: SupportSet) -> NDArray[np.int64]:
    """(n_examples,) fold of each example, dealt out class by class; -1 for the only one of a class."""
    return np.concatenate([np.arange(n) % FOLDS if n > 1 else [-1] for n in support.counts])


def _terms(model: TorchModel, features: Features) -> NDArray[np.float32]:
    """(n_examples, d) what each example adds to a mean: the prototype of a class that has it alone."""
    parts = [features[start : start + CHUNK] for start in range(0, len(features), CHUNK)]
    return np.concatenate([model.adapt(p, np.arange(len(p)), len(p))["prototypes"] for p in parts])
