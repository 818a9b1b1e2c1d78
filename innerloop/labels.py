"""Inputs and their labels as lists, and what may be a label. Knows no server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerloop.client.inputs import listed, listed_inputs


def paired(X: Any, y: Any) -> tuple[list[Any], list[Any]]:  # noqa: N803
    """As many labels as inputs.

    Raises:
        ValueError: there are more of one, a label is missing, or one is several values.
    """
    inputs, labels = listed_inputs(X), listed(y, "labels")
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
        ValueError: names the first that is None, NaN, or pandas' NA or NaT.
    """
    for i, label in enumerate(labels if isinstance(labels, Iterable) else ()):
        if _is_missing(label):
            raise ValueError(f"label {i} is missing ({label}); leave its example out")


def _is_missing(label: Any) -> bool:
    """None, and what differs from itself: NaN and NaT; NA refuses to be compared."""
    try:
        return label is None or bool(label != label)
    except TypeError:
        return True
    except ValueError:  # an array: several values
        return False


def check_one_kind(labels: Any) -> None:
    """That texts are not mixed with others, which an array would make texts too.

    Raises:
        ValueError: names the kinds.
    """
    given = list(labels) if isinstance(labels, Iterable) else []
    kinds = {type(label).__name__ for label in given if not isinstance(label, str)}
    if kinds and any(isinstance(label, str) for label in given):
        raise ValueError(f"labels are of one kind, found str and {', '.join(sorted(kinds))}; make all of them texts")


def check_apart(labels: Sequence[Any]) -> None:
    """That they are of one kind and differ as text, which is what a server keeps.

    Raises:
        ValueError: two have the same `str`, or some are texts and some are not.
    """
    read_as: dict[str, set[Any]] = {}
    for label in labels:
        read_as.setdefault(str(label), set()).add(label)
    if twice := [name for name, found in read_as.items() if len(found) > 1]:
        raise ValueError(f"labels must differ as text; more than one reads {twice[0]!r}")
    check_one_kind(labels)


def each_once(labels: Sequence[Any]) -> NDArray[Any]:
    """(n_way,) sorted.

    Raises:
        ValueError: they cannot be sorted.
    """
    try:
        return np.unique(np.asarray(labels))
    except TypeError as error:
        raise ValueError(f"labels must be of one kind that can be sorted: {error}") from error
