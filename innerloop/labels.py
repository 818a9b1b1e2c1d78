"""Inputs and their labels as lists, and what may be a label. Knows no server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerloop.client.inputs import listed


def paired(X: Any, y: Any) -> tuple[list[Any], list[Any]]:  # noqa: N803
    """As many labels as inputs.

    Raises:
        ValueError: there are more of one, a label is missing, or one is several values.
    """
    inputs, labels = listed(X, "inputs"), listed(y, "labels")
    if len(inputs) != len(labels):
        raise ValueError(f"as many labels as inputs are needed, found {len(inputs)} inputs and {len(labels)} labels")
    check_present(labels)
    for i, label in enumerate(labels):
        if isinstance(label, Sized) and not isinstance(label, str | bytes):
            raise ValueError(f"a label is a single value, label {i} is {label!r}; join its parts to one text")
    return inputs, labels


def check_present(labels: Any) -> None:
    """That none of them is missing; what is no collection of labels, others refuse.

    Raises:
        ValueError: names the first that is None or NaN.
    """
    for i, label in enumerate(labels if isinstance(labels, Iterable) else ()):
        if label is None or (isinstance(label, float) and np.isnan(label)):
            raise ValueError(f"label {i} is missing ({label}); leave its example out")


def check_apart(labels: Sequence[Any]) -> None:
    """That they differ as text, which is what a server keeps.

    Raises:
        ValueError: two have the same `str`.
    """
    read_as: dict[str, set[Any]] = {}
    for label in labels:
        read_as.setdefault(str(label), set()).add(label)
    if twice := [name for name, found in read_as.items() if len(found) > 1]:
        raise ValueError(f"labels must differ as text; more than one reads {twice[0]!r}")


def each_once(labels: Sequence[Any]) -> NDArray[Any]:
    """(n_way,) sorted.

    Raises:
        ValueError: they cannot be sorted.
    """
    try:
        return np.unique(np.asarray(labels))
    except TypeError as error:
        raise ValueError(f"labels must be of one kind that can be sorted: {error}") from error
