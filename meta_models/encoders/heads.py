"""Which head suits an encoder: prototypes, ridge regression or both, tried on development classes.

The encoder is frozen, so its features are computed once, and everything here works on those. Nothing here sees a test
class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from meta_models.algorithms.named import agreement
from meta_models.datasets import ClassPool
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.evaluate import Accuracy, episode_logits
from meta_models.measures import softmax
from meta_models.torch_model import TorchModel, build_algorithm

Say = Callable[[str], None]

SETTINGS = ((5, 1), (5, 5))
"""(n_way, n_shot) that a head is chosen by, their accuracies counting the same."""
PENALTIES = (0.1, 0.3, 1.0, 3.0)
"""λ of ridge regression on features of unit length."""
SCALES = np.geomspace(1, 200, 60)
WORTHS = (0.5, 1.0, 2.0)
"""Examples that a class name counts as."""
NO_WORTH = -10.0
"""Logarithm of what names count as where they say nothing."""
WIDTHS = 8
"""Between names that are right and wrong: 98% of a name's worth there, 2% here."""
SAID = {"log_lambda": "penalty", "log_worth": "names worth"}
"""Logarithms among meta_params, in words."""
N_EPISODES = 150
SEED = 5


@dataclass(frozen=True)
class Head:
    """Attributes:
    algorithm: its table in a manifest.
    values: what of its meta_params is not as it begins.
    centre: (n_features,) subtracted from features; zeros where that is no better.
    """

    algorithm: dict[str, Any]
    values: dict[str, float]
    centre: NDArray[np.float32]

    def model(self, shape: tuple[int | str, ...]) -> TorchModel:
        """With a backbone that has no network in torch; `shape` is one input's."""
        algorithm = build_algorithm(self.algorithm, {"name": "encoder", "n_features": len(self.centre)}, shape)
        values = {name: torch.tensor(value) for name, value in self.values.items()}
        return TorchModel(algorithm, {**algorithm.init(), **values})

    def __str__(self) -> str:
        told = [f"{name} {value}" for name, value in self.algorithm.items() if name in ("mix", "penalty")]
        told += [f"{said} {math.exp(self.values[key]):.2g}" for key, said in SAID.items() if key in self.values]
        return ", ".join([self.algorithm["name"], *told, "centred" if self.centre.any() else "uncentred"])


@dataclass(frozen=True)
class Trial:
    """A head with its accuracy in each setting, and the logits and labels of its queries."""

    head: Head
    accuracies: tuple[Accuracy, ...]
    logits: list[NDArray[np.float32]]
    labels: list[NDArray[np.int64]]

    @property
    def mean(self) -> float:
        return float(np.mean([accuracy.mean for accuracy in self.accuracies]))

    def __str__(self) -> str:
        return f"{100 * self.mean:.2f}% {self.head}"


def choose_head(learn: ClassPool, choose: ClassPool, shape: tuple[int | str, ...], say: Say) -> Trial:
    """The head that is right most often on `choose`, with the scale under which its logits say best how often.

    Args:
        learn: classes whose mean is the centre, and whose names say what names are worth; `inputs` are features,
            (n, d), or (n, 2, d) with those of class names.
        choose: others to try heads on.
        shape: of one input of the encoder.
        say: told each trial.
    """

    def tried(heads: Iterator[Head]) -> list[Trial]:
        found = [_try(head, choose, shape) for head in heads]
        for trial in found:
            say(f"{trial} on development episodes")
        return found

    named = learn.inputs.ndim == 3
    trials = tried(_candidates(learn))
    best = max(trials, key=lambda trial: trial.mean)  # of equals the first, which is the simplest
    if named and best.head.values["log_worth"] > NO_WORTH:
        others = (replace(best.head, values={**best.head.values, "log_worth": math.log(w)}) for w in WORTHS if w != 1)
        best = max([best, *tried(others)], key=lambda trial: trial.mean)
    scale = min(SCALES, key=lambda s: _surprise(best, float(s)))
    head = replace(best.head, values={**best.head.values, "log_scale": math.log(float(scale))})
    return replace(best, head=head)


def centred(pool: ClassPool, centre: NDArray[np.float32]) -> ClassPool:
    """The pool as the published graph gives it: features minus the centre, absent names as they are, zero."""
    there = pool.inputs.any(-1, keepdims=True)
    return replace(pool, inputs=np.where(there, pool.inputs - centre, 0).astype(np.float32))


def _candidates(learn: ClassPool) -> Iterator[Head]:
    """Prototypes and ridge regressions; where classes have names, prototypes and mixes of both, helped by the names.

    Logits of a scale of 1, for now.
    """
    centre = _centre(learn)
    for where in (np.zeros_like(centre), centre):
        if learn.inputs.ndim == 2:
            yield Head({"name": "protonet", "metric": "cosine"}, {"log_scale": 0.0}, where)
            for penalty in PENALTIES:
                yield Head({"name": "ridge"}, {"log_scale": 0.0, "log_lambda": math.log(penalty)}, where)
            continue
        values = {"log_scale": 0.0, **_names(learn, where)}  # cosines are others where a common part is left in
        yield Head({"name": "named", "mix": 0.0}, values, where)
        for penalty in PENALTIES:
            yield Head({"name": "named", "mix": 0.5, "penalty": penalty}, values, where)


def _names(pool: ClassPool, centre: NDArray[np.float32]) -> dict[str, float]:
    """`Named`'s margin and width: names are trusted where they agree with the examples more than names that went to
    the next class do, and counted for nothing where the former rarely agree more than the latter."""
    own, others = [], []
    features = torch.from_numpy(centred(pool, centre).inputs)
    for number in range(N_EPISODES):
        episode = sample_episode(pool, EpisodeSpec(5, 1 + number % 5, 1), SEED, number)
        means, names = functional.normalize(features[episode.support], dim=-1).mean(1).unbind(1)
        own.append(float(agreement(means, names)))
        others.append(float(agreement(means, names.roll(1, 0))))
    low, high = float(np.mean(others)), float(np.mean(own))
    if high < low + 2 * float(np.std(others)):
        return {"log_worth": NO_WORTH, "margin": 1.0, "log_width": math.log(0.03)}
    return {"log_worth": 0.0, "margin": (low + high) / 2, "log_width": math.log((high - low) / WIDTHS)}


def _try(head: Head, pool: ClassPool, shape: tuple[int | str, ...]) -> Trial:
    model = _Ready(head.model(shape))
    pool = centred(pool, head.centre)
    smallest = min(len(rows) for rows in pool.class_examples)
    accuracies: list[Accuracy] = []
    every: list[NDArray[np.float32]] = []
    truths: list[NDArray[np.int64]] = []
    for n_way, n_shot in SETTINGS:
        spec = EpisodeSpec(n_way, n_shot, min(10, smallest - n_shot)).for_pool(pool)
        right: list[float] = []
        for logits, labels in episode_logits(model, pool, spec, N_EPISODES, SEED, features=pool.inputs):
            right.append(float((logits.argmax(1) == labels).mean()))
            every.append(logits)
            truths.append(labels)
        accuracies.append(Accuracy.of(right))
    return Trial(head, tuple(accuracies), every, truths)


class _Ready:
    """A model whose queries are features: of a text its own, not its class name's."""

    shares_body = True

    def __init__(self, model: TorchModel) -> None:
        self.adapt, self._logits = model.adapt, model.logits

    def support_features(self, inputs: NDArray[Any]) -> NDArray[Any]:
        return inputs

    def logits(self, adapted: dict[str, NDArray[np.float32]], features: NDArray[Any]) -> NDArray[np.float32]:
        return self._logits(adapted, features[:, 0] if features.ndim == 3 else features)


def _surprise(trial: Trial, scale: float) -> float:
    """Mean cross-entropy of the trial's queries, its logits scaled anew."""
    losses = [
        -np.log(softmax(scale * logits)[np.arange(len(labels)), labels] + 1e-12).mean()
        for logits, labels in zip(trial.logits, trial.labels, strict=True)
    ]
    return float(np.mean(losses))


def _centre(pool: ClassPool) -> NDArray[np.float32]:
    """Mean over classes of the means of their examples: what all features share tells no classes apart."""
    own = pool.inputs[:, 0] if pool.inputs.ndim == 3 else pool.inputs
    return np.stack([own[rows].mean(0) for rows in pool.class_examples]).mean(0)
