"""Few-shot on tables that scikit-learn ships, through HTTP, beside what people would reach for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerloop.estimator import FewShotClassifier
from innerloop.wording import with_interval

TABLES = ("digits", "wine", "breast_cancer", "iris")
SHOTS = (1, 5, 20)
N_QUERY = 20


@dataclass(frozen=True)
class Cell:
    """Accuracy on one table with `n_shot` examples a class, in percent, a value for each support set.

    Attributes:
        ours: of `FewShotClassifier`.
        theirs: of logistic regression on standardised columns, adapted to the same support sets.
    """

    table: str
    n_shot: int
    ours: NDArray[np.float64]
    theirs: NDArray[np.float64]

    def worded(self, of: Callable[[Cell], NDArray[np.float64]]) -> str:
        """Mean and half the width of its 95% confidence interval."""
        return with_interval(of(self))


def play(make: Callable[[], FewShotClassifier], table: str, n_shot: int, rounds: int) -> Cell:
    """Adapt to `rounds` support sets of one table and ask about other rows of it."""
    import sklearn.datasets
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    load: Any = getattr(sklearn.datasets, f"load_{table}")
    rows, labels = load(return_X_y=True)
    scores: list[tuple[float, float]] = []
    for number in range(rounds):
        rng = np.random.default_rng((number, n_shot))
        drawn = [rng.permutation(np.flatnonzero(labels == c))[: n_shot + N_QUERY] for c in np.unique(labels)]
        support = np.concatenate([d[:n_shot] for d in drawn])
        query = np.concatenate([d[n_shot:] for d in drawn])
        judged = [
            100 * model.fit(rows[support], labels[support]).score(rows[query], labels[query])
            for model in (make(), make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)))
        ]
        scores.append((judged[0], judged[1]))
    found = np.array(scores)
    return Cell(table, n_shot, found[:, 0], found[:, 1])
