"""How good an adapted model is, judged by its own support set: what is stored, and what it means.

Examples are held out of the support set they would be judged by: one at a time, or a fold at a time. What is stored
knows class numbers only, so a renamed class keeps its figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from adapter.support_set import SupportSet, content_ids
from meta_models.measures import calibration_error, paired_difference, softmax

Method = Literal["leave_one_out", "cross_validation", "cross_validation_without_inner_steps"]

COPIES = "the very same as another example of its class, with which it counts once here"
MOST_SUSPICIOUS = 20
MOST_TWINS = 5
MOST_DOUBTED = 5


class Suspicion(BaseModel):
    """An example that looks like another class: confident learning (Northcutt et al. 2021, arXiv:1911.00068)."""

    model_config = ConfigDict(frozen=True)

    example: str
    source: str
    label: int
    looks_like: int
    probability: float


class Quality(BaseModel):
    """Stored with a version.

    Attributes:
        folds: parts that the support set was cut into, None where examples were held out one at a time.
        given: for each example in canonical order the class it was given while held out, -1 for the only
            example of a class, which cannot be held out, and for a copy of another.
        calibration_error: of those answers, in [0, 1]; None where there are none.
        twins: pairs of classes that hold the very same example.
        doubts: examples of which the meta-model cannot make much, in words.
    """

    model_config = ConfigDict(frozen=True)

    method: Method
    folds: int | None
    given: tuple[int, ...]
    calibration_error: float | None
    suspicious: tuple[Suspicion, ...]
    twins: tuple[tuple[int, int], ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """The same held-out examples before and after a change.

    Attributes:
        before, after: (n,) whether each was given its class.
        names: (n,) its class.
    """

    before: NDArray[np.bool_]
    after: NDArray[np.bool_]
    names: tuple[str, ...]

    @property
    def difference(self) -> tuple[float, float, float]:
        """Accuracy after minus before, and its 95% confidence interval."""
        lost, gained = int((self.before & ~self.after).sum()), int((~self.before & self.after).sum())
        return paired_difference(lost, gained, len(self.names))


def example_name(example_id: str) -> str:
    """An example as clients name it: by its content."""
    return f"ex_{example_id[:32]}"


def judge(
    support: SupportSet, logits: NDArray[np.float32], temperature: float, method: Method, folds: int | None = None
) -> Quality:
    """From the logits (n_examples, n_way) that each example got while held out; rows of NaN were not."""
    held = np.isfinite(logits).all(1)
    given = np.full(len(logits), -1)
    given[held] = logits[held].argmax(1)
    probabilities = softmax(logits[held], temperature)
    labels = support.labels[held]
    return Quality(
        method=method,
        folds=folds,
        given=tuple(int(g) for g in given),
        calibration_error=round(calibration_error(probabilities, labels), 4) if held.any() else None,
        suspicious=_suspicious(support, np.flatnonzero(held), probabilities, labels),
    )


def twins(support: SupportSet, unnamed: NDArray[Any]) -> tuple[tuple[int, int], ...]:
    """Pairs of classes that hold the very same example.

    Args:
        support: the examples.
        unnamed: the same without the names of their classes, by which twins would differ.
    """
    ids = support.example_ids if unnamed is support.inputs else content_ids(unnamed)
    first: dict[str, int] = {}
    pairs: set[tuple[int, int]] = set()
    for example, label in zip(ids, support.labels, strict=True):
        other = first.setdefault(example, int(label))
        if other != label:
            pairs.add((other, int(label)))
    return tuple(sorted(pairs))[:MOST_TWINS]


def doubts(support: SupportSet, found: Mapping[str, NDArray[np.bool_]]) -> tuple[str, ...]:
    """What an input spec doubts, with the examples by where they stood in the request."""
    told: list[str] = []
    for words, rows in found.items():
        where = sorted(source for source, row in zip(support.sources, rows, strict=True) if row)
        more = f" and {len(where) - MOST_DOUBTED} more" if len(where) > MOST_DOUBTED else ""
        if where:
            told.append(f"{words}: {', '.join(where[:MOST_DOUBTED])}{more}")
    return tuple(told)


def compare(old: SupportSet, before: Quality, new: SupportSet, after: Quality) -> Comparison | None:
    """Held-out answers for the examples that both versions have and could hold out; None where there are none."""
    was = _right_by_example(old, before)
    now = _right_by_example(new, after)
    both = sorted(was.keys() & now.keys(), key=lambda key: (key[1], key[0]))
    if not both:
        return None
    return Comparison(
        np.array([was[key] for key in both]), np.array([now[key] for key in both]), tuple(name for _, name in both)
    )


def _right_by_example(support: SupportSet, quality: Quality) -> dict[tuple[str, str], bool]:
    rows = zip(support.example_ids, support.names, quality.given, support.labels, strict=True)
    return {(example, name): bool(given == label) for example, name, given, label in rows if given >= 0}


def _suspicious(
    support: SupportSet, rows: NDArray[np.int64], probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[Suspicion, ...]:
    """Examples given another class with at least the mean confidence that this class's own examples have."""
    found: list[tuple[float, Suspicion]] = []
    own = probabilities[np.arange(len(labels)), labels]
    guess, best = probabilities.argmax(1), probabilities.max(1)
    for i in np.flatnonzero(guess != labels):
        members = labels == guess[i]
        if members.any() and best[i] >= own[members].mean():
            row = int(rows[i])
            suspicion = Suspicion(
                example=example_name(support.example_ids[row]),
                source=support.sources[row],
                label=int(labels[i]),
                looks_like=int(guess[i]),
                probability=round(float(best[i]), 4),
            )
            found.append((float(best[i] - own[i]), suspicion))
    found.sort(key=lambda pair: -pair[0])
    return tuple(suspicion for _, suspicion in found[:MOST_SUSPICIOUS])
