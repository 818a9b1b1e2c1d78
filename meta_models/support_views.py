"""What adapting reads of support examples: their features, and where the algorithm asks for them those of views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from meta_models.serving import Features

_CHUNK = 500
"""Examples whose views are held at once."""


class _Seer(Protocol):
    @property
    def n_support_views(self) -> int: ...

    def support_views(self, inputs: NDArray[Any]) -> NDArray[Any]: ...


def with_views(
    features: Callable[[NDArray[Any]], Features],
    model: _Seer,
    inputs: NDArray[Any],
    labels: NDArray[np.int64] | None = None,
) -> Features:
    """(n, *shape) to `features` of them, or to (n, 1 + n_support_views, d): each example's and its views'.

    With the support set's labels (n,) only examples that are alone in their class but for copies are seen in views,
    which are all that adapting reads; the others' own features stand for those of their views.
    """
    own = features(inputs)
    if not model.n_support_views:
        return own
    seen = np.arange(len(inputs)) if labels is None else _alone(inputs, labels)
    if not len(seen):
        return own
    own = cast("NDArray[np.float32]", own)
    found = np.repeat(own[:, None], 1 + model.n_support_views, axis=1)
    for start in range(0, len(seen), _CHUNK):
        rows = seen[start : start + _CHUNK]
        views = model.support_views(inputs[rows]).reshape(-1, *inputs.shape[1:])
        found[rows, 1:] = features(views).reshape(len(rows), model.n_support_views, -1)
    return found


def _alone(inputs: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the first examples of classes that have no other but copies of them."""
    _, first = np.unique(labels, return_index=True)
    differs = (inputs != inputs[first[labels]]).reshape(len(labels), -1).any(1)
    return first[np.bincount(labels, weights=differs) == 0]
