"""Support sets that are not as an episode draws them: unbalanced, or with wrong labels. Knows numpy only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Perturb = Callable[[np.random.Generator, NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.int64]]]
"""(rng, labels (n_support,)) to the positions kept, (m,), and their labels, (m,)."""


def imbalanced(counts: tuple[int, ...]) -> Perturb:
    """Keep `counts[c]` examples of class c. Which class gets which count is drawn for each episode."""

    def perturb(rng: np.random.Generator, labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        kept = np.concatenate(
            [np.flatnonzero(labels == c)[:n] for c, n in enumerate(rng.permutation(np.array(counts)))]
        )
        return kept, labels[kept]

    return perturb


def mislabelled(share: float) -> Perturb:
    """Give this share of the examples the label of another class, drawn for each episode."""

    def perturb(rng: np.random.Generator, labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        n_way = int(labels.max()) + 1
        wrong = rng.choice(len(labels), round(share * len(labels)), replace=False)
        changed = labels.copy()
        changed[wrong] = (labels[wrong] + rng.integers(1, n_way, len(wrong))) % n_way
        return np.arange(len(labels)), changed

    return perturb
