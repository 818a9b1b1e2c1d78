"""Vectors for tests: rows of a table that scikit-learn ships, and `.npy` files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_wine


def wine(n_shot: int, n_query: int, seed: int = 0) -> tuple[NDArray[Any], list[str], NDArray[Any], list[str]]:
    """Support vectors and labels, query vectors and labels: three cultivars, 13 measurements in units of their own."""
    rows, labels = load_wine(return_X_y=True)
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(labels == c))[: n_shot + n_query] for c in range(3)]
    support = np.concatenate([d[:n_shot] for d in drawn])
    query = np.concatenate([d[n_shot:] for d in drawn])
    names = [f"cultivar {c}" for c in range(3)]
    return (
        rows[support].astype(np.float32),
        [names[labels[i]] for i in support],
        rows[query].astype(np.float32),
        [names[labels[i]] for i in query],
    )


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array), **options)
    return file.getvalue()


def support_json(vectors: NDArray[Any], labels: list[str]) -> list[dict[str, Any]]:
    """`support` of a JSON request."""
    return [
        {"label": label, "input": {"vector": vector.tolist()}} for vector, label in zip(vectors, labels, strict=True)
    ]


def inputs_json(vectors: NDArray[Any]) -> list[dict[str, Any]]:
    """`inputs` of a JSON request."""
    return [{"vector": vector.tolist()} for vector in vectors]
