"""A support set: validated, in canonical order, with its digests and its stored form.

Classes are ordered by what they contain, never by their names, so neither names nor order of arrival can
change what is adapted.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from adapter.errors import ErrorItem, Unprocessable
from meta_models.manifest import Limits

MAX_LABEL_LENGTH = 200

_JOINERS = re.compile(r"(?<=\S)[\u200c\u200d]+(?=\S)")
"""What parts or joins two characters of Persian, of Devanagari and of emoji, and is not seen itself."""


@dataclass(frozen=True)
class SupportSet:
    """Labelled examples in canonical order.

    Attributes:
        inputs: (n_examples, *shape), pre-processed: uint8 pictures, float32 vectors, int16 sounds.
        labels: (n_examples,) index into `classes`, ascending.
        classes: names, ordered by content.
        example_ids: (n_examples,) sha256 of each example.
        sources: (n_examples,) where each stood in the request that brought it; names nothing, counts nowhere.
        other: (n_examples, *shape) the same examples as meta-models of another kind read them, until one is chosen.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    example_ids: tuple[str, ...]
    sources: tuple[str, ...]
    other: NDArray[Any] | None = None

    @property
    def names(self) -> list[str]:
        """Class name of each example."""
        return [self.classes[y] for y in self.labels]

    @property
    def counts(self) -> tuple[int, ...]:
        """Examples of each class."""
        return tuple(int(n) for n in np.bincount(self.labels, minlength=len(self.classes)))

    @cached_property
    def is_copy(self) -> NDArray[np.bool_]:
        """(n_examples,) whether its class has the very same example before it."""
        others = self.example_ids if self.other is None else content_ids(self.other)
        seen: set[tuple[int, str, str]] = set()
        copies: list[bool] = []
        for key in zip(self.labels.tolist(), self.example_ids, others, strict=True):
            copies.append(key in seen)
            seen.add(key)
        return np.array(copies, dtype=bool)

    @cached_property
    def content(self) -> str:
        """Digest of the examples and how they are grouped, without the classes' names."""
        ends = np.cumsum(self.counts)
        examples = [self.example_ids[end - n : end] for end, n in zip(ends, self.counts, strict=True)]
        return _digest(examples if self.other is None else [examples, self.as_other().content])

    def as_other(self) -> SupportSet:
        """As the other kind of meta-model reads it, in that reading's canonical order."""
        assert self.other is not None  # noqa: S101 - whoever asks has looked
        return canonical(self.names, self.other, self.sources)

    def digest(self, meta_model: str, settings: dict[str, object]) -> str:
        """What makes two models the same: meta-model version, settings, examples and names."""
        return "sha256:" + _digest([meta_model, settings, self.content, list(self.classes)])

    def weights_digest(self, meta_model: str, settings: dict[str, object]) -> str:
        """What makes two sets of adapted tensors the same: as `digest`, whatever the classes are called."""
        return _digest([meta_model, settings, self.content])


def canonical(
    labels: Sequence[str],
    inputs: NDArray[Any],
    sources: Sequence[str] | None = None,
    other: NDArray[Any] | None = None,
) -> SupportSet:
    """Order examples by content within classes, and classes by content."""
    sources = sources or [""] * len(labels)
    ids = content_ids(inputs)
    # Examples that one kind of meta-model cannot tell apart, another may.
    ties = ids if other is None else content_ids(other)
    by_class: dict[str, list[tuple[str, str, int]]] = {}
    for row, (label, example, tie) in enumerate(zip(labels, ids, ties, strict=True)):
        by_class.setdefault(label, []).append((example, tie, row))
    members = {name: sorted(examples) for name, examples in by_class.items()}
    # Two classes with the very same examples are told apart by name alone.
    classes = sorted(members, key=lambda name: ([example for example, _, _ in members[name]], name))
    rows = [row for name in classes for _, _, row in members[name]]
    return SupportSet(
        inputs=inputs[rows],
        labels=np.repeat(np.arange(len(classes)), [len(members[name]) for name in classes]),
        classes=tuple(classes),
        example_ids=tuple(ids[row] for row in rows),
        sources=tuple(sources[row] for row in rows),
        other=None if other is None else other[rows],
    )


def check_labels(labels: Sequence[str], limits: Limits) -> None:
    """Refuse what no meta-model with these limits can adapt to.

    Raises:
        Unprocessable: names the example or class, the number found and the number allowed.
    """
    check_names(labels, "/support")
    check_counts(labels, limits)


def check_names(labels: Sequence[str], pointer: str, classes: Collection[str] = ()) -> None:
    """Refuse labels that cannot name a class, or that no reader could tell from another, or from one of `classes`.

    Raises:
        Unprocessable: lists each of them by its place below `pointer`.
    """
    known, first = set(classes), {_as_read(name): name for name in classes}
    errors: list[ErrorItem] = [
        {"pointer": f"{pointer}/{i}/label", "code": "bad_label", "detail": problem}
        for i, label in enumerate(labels)
        if label not in known
        and (problem := label_problem(label) or look_alike(label, first.setdefault(_as_read(label), label)))
    ]
    if errors:
        raise Unprocessable(f"{len(errors)} of {len(labels)} labels cannot be used", code="bad_label", errors=errors)


def check_counts(labels: Sequence[str], limits: Limits) -> None:
    """Refuse too few or too many classes or examples.

    Raises:
        Unprocessable: the number found and the number allowed.
    """
    counts = Counter(labels)
    if len(counts) < limits.min_classes:
        raise Unprocessable(
            f"at least {limits.min_classes} classes are needed, found {len(counts)}"
            + (f": {next(iter(counts))!r}" if counts else ""),
            code="too_few_classes",
            pointer="/support",
        )
    if len(counts) > limits.max_classes:
        raise Unprocessable(
            f"at most {limits.max_classes} classes, found {len(counts)}", code="too_many_classes", pointer="/support"
        )
    if len(labels) > limits.max_examples:
        raise Unprocessable(
            f"at most {limits.max_examples} examples, found {len(labels)}", code="too_many_examples", pointer="/support"
        )
    crowded = {name: n for name, n in counts.items() if n > limits.max_examples_per_class}
    if crowded:
        found = ", ".join(f"{name!r} has {n}" for name, n in crowded.items())
        raise Unprocessable(
            f"at most {limits.max_examples_per_class} examples a class; {found}",
            code="too_many_examples",
            pointer="/support",
        )


def encode(support: SupportSet) -> bytes:
    """The stored form: safetensors with names and ids in its metadata."""
    about = json.dumps({"classes": support.classes, "example_ids": support.example_ids, "sources": support.sources})
    other = {} if support.other is None else {"other": support.other}
    return safetensors.numpy.save({"inputs": support.inputs, "labels": support.labels, **other}, {"support": about})


def decode(data: bytes) -> SupportSet:
    """What `encode` wrote."""
    header_size = int.from_bytes(data[:8], "little")
    about = json.loads(json.loads(data[8 : 8 + header_size])["__metadata__"]["support"])
    tensors = safetensors.numpy.load(data)
    return SupportSet(
        tensors["inputs"],
        tensors["labels"],
        tuple(about["classes"]),
        tuple(about["example_ids"]),
        tuple(about["sources"]),
        tensors.get("other"),
    )


def label_problem(label: str) -> str | None:
    """Why it cannot name a class, or None."""
    if not label.strip():
        return "a label must not be empty"
    if label in (".", ".."):
        return f"a label must not be {label!r}: in the address of a class that means another place"
    if len(label) > MAX_LABEL_LENGTH:
        return f"a label has at most {MAX_LABEL_LENGTH} characters, this one {len(label)}"
    if not is_printable(label):
        return f"a label must be printable, this one is {label!r}"
    return None


def is_printable(text: str) -> bool:
    """Whether a terminal shows all of it, on one line, and does nothing else."""
    return _JOINERS.sub("", text).isprintable()


def _as_read(label: str) -> str:
    """Without what no reader sees: more than one space, what joins, and whether an accent is a character of its own."""
    return " ".join(unicodedata.normalize("NFC", _JOINERS.sub("", label)).split())


def look_alike(label: str, other: str) -> str | None:
    """What is wrong with a label that reads as another does, or None where they are one or differ to a reader."""
    if label == other or _as_read(label) != _as_read(other):
        return None
    return f"{label!r} and {other!r} read the same; write both in one way"


def content_ids(rows: NDArray[Any]) -> list[str]:
    """(n, …) to the sha256 of each."""
    return [hashlib.sha256(np.ascontiguousarray(row).tobytes()).hexdigest() for row in rows]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
