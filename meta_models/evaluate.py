"""Accuracy over many episodes, with its confidence interval. Every answer is inductive."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from meta_models.algorithms import InnerSettings
from meta_models.datasets import ClassPool
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.measures import accuracy_reach, student_reach
from meta_models.torch_model import Arrays, Features


class Classifier(Protocol):
    """Anything that adapts and predicts: `TorchModel`, or the serving path."""

    @property
    def shares_body(self) -> bool: ...

    def support_features(self, inputs: NDArray[Any]) -> Features: ...

    def adapt(
        self, features: Features, labels: NDArray[np.int64], n_way: int, inner: InnerSettings | None
    ) -> Arrays: ...

    def logits(self, adapted: Arrays, features: Features) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Accuracy:
    """Mean over episodes with half the width of its 95% confidence interval, both in [0, 1]."""

    mean: float
    ci95: float
    n_episodes: int

    @classmethod
    def of(cls, per_episode: list[float]) -> Accuracy:
        """As far as `accuracy_reach` says."""
        values = np.asarray(per_episode)
        return cls(float(values.mean()), accuracy_reach(values), len(values))

    @classmethod
    def of_differences(cls, per_episode: list[float]) -> Accuracy:
        """Of two accuracies on the same episodes, by Student's t: where all are 0, the two are the same."""
        values = np.asarray(per_episode)
        return cls(float(values.mean()), student_reach(values), len(values))

    def __str__(self) -> str:
        return f"{100 * self.mean:.2f} ± {100 * self.ci95:.2f}"


def episode_logits(
    classifier: Classifier,
    pool: ClassPool,
    spec: EpisodeSpec,
    n_episodes: int,
    seed: int,
    inner: InnerSettings | None = None,
    counts: tuple[int, ...] | None = None,
    features: Features | None = None,
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Adapt to each episode and yield query logits (n_query, n_way) with labels (n_query,).

    With `counts`, classes keep so many of their examples; which class keeps which number is drawn for each episode.

    A shared body sees each image once: a feature depends on its own image alone, so this changes
    nothing but the time it takes. Who measures a pool several times passes its `features`.
    """
    features = pool_features(classifier, pool) if features is None else features
    for number in range(n_episodes):
        episode = sample_episode(pool, spec, seed, number)
        kept = np.ones(episode.support.shape, bool)
        if counts:
            drawn = np.random.default_rng((seed, number, 1)).permutation(np.array(counts))
            kept = np.arange(episode.support.shape[1]) < drawn[:, None]
        support, query = features[episode.support[kept]], features[episode.query.ravel()]
        n_way, n_query = episode.query.shape
        adapted = classifier.adapt(support, episode.support_labels[kept], n_way, inner)
        yield classifier.logits(adapted, query), np.repeat(np.arange(n_way), n_query)


def pool_features(classifier: Classifier, pool: ClassPool) -> Features:
    """What adapting reads of the pool's own examples; its `inputs` may hold many more, whose rows stay zero.

    Where no body is shared, the inputs themselves.
    """
    if not classifier.shares_body:
        return pool.inputs
    own = np.concatenate(pool.class_examples)
    computed = classifier.support_features(pool.inputs[own])
    features = np.zeros((len(pool.inputs), *computed.shape[1:]), np.float32)
    features[own] = computed
    return features


def evaluate_all(
    classifier: Classifier,
    pools: Sequence[ClassPool],
    spec: EpisodeSpec,
    n_episodes: int,
    seed: int,
    inner: InnerSettings | None = None,
    features: Sequence[Features] | None = None,
) -> Accuracy:
    """Mean over several pools, each counting the same; a pool with few classes has episodes of fewer.

    Who measures pools several times passes their `features`.
    """
    features = [pool_features(classifier, pool) for pool in pools] if features is None else features
    found = [
        evaluate(classifier, pool, spec.for_pool(pool), n_episodes, seed, inner, features=of_pool)
        for pool, of_pool in zip(pools, features, strict=True)
    ]
    ci95 = math.sqrt(sum(a.ci95**2 for a in found)) / len(found)
    return Accuracy(sum(a.mean for a in found) / len(found), ci95, n_episodes * len(found))


def evaluate(
    classifier: Classifier,
    pool: ClassPool,
    spec: EpisodeSpec,
    n_episodes: int,
    seed: int,
    inner: InnerSettings | None = None,
    counts: tuple[int, ...] | None = None,
    features: Features | None = None,
) -> Accuracy:
    """Accuracy on `n_episodes` episodes of the stream named by `seed`."""
    return Accuracy.of(
        [
            float((logits.argmax(1) == labels).mean())
            for logits, labels in episode_logits(classifier, pool, spec, n_episodes, seed, inner, counts, features)
        ]
    )
