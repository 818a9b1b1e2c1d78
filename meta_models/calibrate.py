"""Fits temperature and rejection threshold on development episodes. Never sees a test class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meta_models.algorithms import InnerSettings
from meta_models.datasets import ClassPool
from meta_models.episodes import EpisodeSpec
from meta_models.evaluate import Classifier, episode_logits, pool_features
from meta_models.manifest import FALSE_REJECT, Calibration
from meta_models.measures import auroc, calibration_error, softmax
from meta_models.serving import Features
from meta_models.splits import Pools

FALSE_REJECTS = (0.005, 0.01, 0.02, FALSE_REJECT, 0.1, 0.2, 0.3, 0.5)
"""Shares of known-class queries turned away, for which a threshold is stored."""

GRID = tuple((n_way, n_shot) for n_way in (2, 5, 10, 20) for n_shot in (1, 2, 5))
"""(n_way, n_shot) settings that get an entry."""

N_QUERY = 5
SEED = 2

CANDIDATES = np.geomspace(0.1, 10, 81)
"""Temperatures tried."""


def calibrate(
    classifier: Classifier,
    pools: Pools,
    n_episodes: int,
    seed: int = SEED,
    inner: InnerSettings | None = None,
    grid: Sequence[tuple[int, int]] = GRID,
) -> tuple[Calibration, ...]:
    """One entry per setting of `grid` for which a pool has classes, with one to spare, and examples; `n_episodes` of
    each such pool."""
    found: list[Calibration] = []
    features = [pool_features(classifier, pool) for pool in pools]
    for n_way, n_shot in grid:
        parts = [
            _collect(classifier, pool, of_pool, n_way, n_shot, n_episodes, seed, inner)
            for pool, of_pool in zip(pools, features, strict=True)
            if _has_episodes(pool, n_way, n_shot)
        ]
        if parts:
            known, labels, unseen = (np.concatenate(part) for part in zip(*parts, strict=True))
            found.append(_fit(n_way, n_shot, known, labels, unseen))
    return tuple(found)


def _has_episodes(pool: ClassPool, n_way: int, n_shot: int) -> bool:
    smallest = min(len(rows) for rows in pool.class_examples)
    return n_way < np.bincount(pool.class_groups).max() and n_shot + N_QUERY <= smallest


def _collect(
    classifier: Classifier,
    pool: ClassPool,
    features: Features,
    n_way: int,
    n_shot: int,
    n_episodes: int,
    seed: int,
    inner: InnerSettings | None,
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Query logits and labels, and the best logit that queries of a class left out of the support set reach.

    An episode of n_way + 1 classes serves both: adapting sees all but the last class, whose queries are
    the unseen ones.
    """
    spec = EpisodeSpec(n_way + 1, n_shot, N_QUERY, within_group=1.0)
    known: list[NDArray[np.float32]] = []
    labels: list[NDArray[np.int64]] = []
    unseen: list[NDArray[np.float32]] = []
    for logits, truth in episode_logits(
        _AllButLast(classifier), pool, spec, n_episodes, seed, inner, features=features
    ):
        seen = truth < n_way
        known.append(logits[seen])
        labels.append(truth[seen])
        unseen.append(logits[~seen].max(1))
    return np.concatenate(known), np.concatenate(labels), np.concatenate(unseen)


class _AllButLast:
    """A classifier that ignores the support set's last class."""

    def __init__(self, inner: Classifier) -> None:
        self._inner = inner
        self.shares_body = inner.shares_body
        self.support_features = inner.support_features
        self.logits = inner.logits

    def adapt(self, features, labels, n_way, inner):
        kept = labels < n_way - 1
        return self._inner.adapt(features[kept], labels[kept], n_way - 1, inner)


def _fit(
    n_way: int, n_shot: int, logits: NDArray[np.float32], labels: NDArray[np.int64], unseen: NDArray[np.float32]
) -> Calibration:
    temperature = float(min(CANDIDATES, key=lambda t: _loss(softmax(logits, t), labels)))
    best = logits.max(1)
    return Calibration(
        n_way=n_way,
        n_shot=n_shot,
        temperature=round(temperature, 4),
        rejection_logit=round(float(np.quantile(best, FALSE_REJECT)), 4),
        expected_calibration_error=round(calibration_error(softmax(logits, temperature), labels), 4),
        unseen_auroc=round(auroc(best, unseen), 4),
        rejection_logits=tuple((share, round(float(np.quantile(best, share)), 4)) for share in FALSE_REJECTS),
    )


def _loss(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Cross-entropy, as if one answer more had been given and its class were any: with none wrong among those that
    there are, certainty would have no end."""
    logs = np.log(probabilities + 1e-12)
    return float(-(logs[np.arange(len(labels)), labels].sum() + logs.mean()))
