"""A support set becomes another one: examples and classes come, go and change their names. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter.errors import NotFound, NotReady, Unprocessable
from adapter.quality import example_name
from adapter.support_set import SupportSet, canonical, check_names, content_ids, label_problem, look_alike

Unnamed = Callable[[NDArray[Any]], NDArray[Any]]


def add_examples(
    support: SupportSet,
    labels: Sequence[str],
    inputs: NDArray[Any],
    sources: Sequence[str],
    unnamed: Unnamed = lambda rows: rows,
) -> SupportSet:
    """With these examples too; one that its class has already is passed over, so that a retry adds nothing.

    `unnamed` takes from rows the name that their class had when they came; it may have been renamed since.

    Raises:
        NotReady: a meta-model was chosen meanwhile that reads examples in another way.
        Unprocessable: a label reads as another class does.
    """
    check_names(labels, "/examples", support.classes)
    if support.inputs.shape[1:] != inputs.shape[1:]:
        raise NotReady("the meta-model was being chosen; send the same again", retry_after=1)
    known = set(_keys(support, unnamed))
    added = canonical(labels, inputs, sources)
    fresh: list[int] = []
    for row, key in enumerate(_keys(added, unnamed)):
        if key not in known:
            known.add(key)
            fresh.append(row)
    if not fresh:
        return support
    names = added.names
    return canonical(
        support.names + [names[row] for row in fresh],
        np.concatenate([support.inputs, added.inputs[fresh]]),
        [*support.sources, *(added.sources[row] for row in fresh)],
    )


def remove_example(support: SupportSet, name: str, label: str | None = None) -> SupportSet:
    """Without the example of that name, in every class or in class `label` alone.

    Raises:
        NotFound: there is none.
    """
    gone = [
        example_name(example) == name and label in (None, of)
        for example, of in zip(support.example_ids, support.names, strict=True)
    ]
    if not any(gone):
        raise NotFound(f"no example {name!r}" + ("" if label is None else f" in class {label!r}"))
    return _only(support, ~np.array(gone))


def remove_class(support: SupportSet, name: str) -> SupportSet:
    """Without that class.

    Raises:
        NotFound: there is none.
    """
    return _only(support, support.labels != _number(support, name))


def rename_class(support: SupportSet, old: str, new: str) -> SupportSet:
    """The same examples under another name.

    Raises:
        NotFound: there is no class `old`.
        Unprocessable: `new` is no label, or another class has it, or one that reads the same.
    """
    _number(support, old)
    others = [name for name in support.classes if name != old]
    if problem := label_problem(new) or next(filter(None, (look_alike(new, name) for name in others)), None):
        raise Unprocessable(problem, code="bad_label", pointer="/name")
    if new in others:
        raise Unprocessable(
            f"there is a class {new!r} already; to join the two, add the examples of one to the other and remove it",
            code="class_exists",
            pointer="/name",
        )
    return canonical([new if name == old else name for name in support.names], support.inputs, support.sources)


def _keys(support: SupportSet, unnamed: Unnamed) -> list[tuple[str, str]]:
    """What no class has twice: of each example its content, and its class as it is called now."""
    rows = unnamed(support.inputs)
    ids = support.example_ids if rows is support.inputs else content_ids(rows)
    return list(zip(ids, support.names, strict=True))


def _number(support: SupportSet, name: str) -> int:
    if name not in support.classes:
        raise NotFound(f"no class {name!r}; there are {', '.join(sorted(support.classes))}")
    return support.classes.index(name)


def _only(support: SupportSet, kept: NDArray[np.bool_]) -> SupportSet:
    rows = np.flatnonzero(kept)
    if not len(rows):
        raise Unprocessable("the support set would be empty; delete the model instead", code="too_few_classes")
    names = support.names
    return canonical([names[row] for row in rows], support.inputs[rows], [support.sources[row] for row in rows])
