"""Tells rows of numbers from other inputs, and checks them as scikit-learn does, by scikit-learn where it is there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerloop.client.inputs import is_npy
from innerloop.client.npy_file import numbers_of
from innerloop.labels import check_one_kind, check_present


def is_table(X: Any) -> bool:  # noqa: N803
    """Whether `X` is rows of numbers: two axes, or a list of vectors. Three axes and more are pictures."""
    if hasattr(X, "toarray"):  # a sparse matrix
        return True
    if isinstance(X, list | tuple):
        if not X or isinstance(X[0], str | bytes | Path):
            return False
        first = X[0]
        if isinstance(first, tuple) and len(first) == 2 and isinstance(first[0], np.ndarray):
            return False  # a sound: samples and their number a second
        return np.ndim(first) == 1 if isinstance(first, np.ndarray | list | tuple) else False
    shape = getattr(X, "shape", None)
    array = X if shape is not None else np.asarray(X) if hasattr(X, "__array__") else None
    if array is None or len(array.shape) > 2:
        return False
    # Two axes: an array or a data frame. One: numbers that lack an axis, which the check says, or texts, paths, bytes
    # and pictures as objects, a column of a data frame too.
    return len(array.shape) == 2 or getattr(array, "dtype", np.dtype(object)).kind in "fiubc"


def checked(estimator: Any, X: Any, *, reset: bool) -> NDArray[Any]:  # noqa: N803
    """(n, n_features) numbers; a fitted estimator's own number of features unless `reset`.

    Raises:
        ValueError, TypeError: it is no such table, in scikit-learn's words where it is installed.
    """
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:
        return _checked(estimator, X, reset=reset)
    return _numbers(validate_data(estimator, X, reset=reset))


def checked_pair(estimator: Any, X: Any, y: Any, *, reset: bool) -> tuple[NDArray[Any], NDArray[Any]]:  # noqa: N803
    """The same with one label for each row."""
    check_present(y)
    try:
        from sklearn.utils.multiclass import check_classification_targets
        from sklearn.utils.validation import validate_data
    except ImportError:
        vectors = _checked(estimator, X, reset=reset)
        labels = one_a_row(y, len(vectors))
        check_one_kind(y)
        return vectors, labels
    vectors, labels = validate_data(estimator, X, y, reset=reset)
    check_classification_targets(labels)
    check_one_kind(y)
    return _numbers(vectors), np.asarray(labels)


def rows_of(examples: NDArray[Any] | list[Any]) -> NDArray[Any]:
    """(n, n_features) of examples that came as rows, or one at a time and are `.npy` files now.

    Raises:
        ValueError: they are no vectors.
    """
    if isinstance(examples, np.ndarray):
        return examples
    if any(isinstance(one, str) or not is_npy(one) for one in examples):
        raise ValueError("examples are of one kind, those before are no vectors; call fit to begin anew")
    return np.array([numbers_of(one) for one in examples])


def one_a_row(y: Any, n_rows: int) -> NDArray[Any]:
    """(n_rows,) labels, which may come as a column.

    Raises:
        ValueError: there are more or fewer, which numpy would compare with every row.
    """
    labels = np.asarray(y)
    if labels.shape not in ((n_rows,), (n_rows, 1)):
        raise ValueError(f"one label a row is needed, found {n_rows} rows and labels {labels.shape}")
    return labels.ravel()


def _numbers(array: Any) -> NDArray[Any]:
    """What scikit-learn lets through that is no number: dates, durations."""
    found = np.asarray(array)
    if found.dtype.kind not in "fiub":
        raise ValueError(f"rows of numbers are needed, these are {found.dtype}; say in numbers what counts of them")
    return found


def _checked(estimator: Any, X: Any, *, reset: bool) -> NDArray[Any]:  # noqa: N803
    array = np.asarray(X)
    array = array.astype(np.float64) if array.dtype == object else array
    if array.ndim != 2 or array.dtype.kind not in "fiub" or not array.size:
        raise ValueError(f"rows of numbers have two axes, not {array.shape} of {array.dtype}; reshape your data")
    if not np.isfinite(array).all():
        raise ValueError("the input contains NaN or infinity")
    if reset:
        estimator.n_features_in_ = array.shape[1]
    elif array.shape[1] != estimator.n_features_in_:
        raise ValueError(f"X has {array.shape[1]} features, {estimator.n_features_in_} are expected")
    return array


def not_fitted(kind: type[Exception], message: str) -> Exception:
    """An error of `kind`, and of scikit-learn's own where that is in use, so that its tools know it."""
    module = sys.modules.get("sklearn.exceptions")
    if module is None:
        return kind(message)
    return type(kind.__name__, (kind, module.NotFittedError), {})(message)
