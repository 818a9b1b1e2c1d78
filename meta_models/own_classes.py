"""Your own labelled pictures, a folder for each class, as classes to meta-train on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meta_models.datasets import ClassPool, DataError
from meta_models.inputs import Caps, InputSpec, UnreadableInput

MIN_IMAGES = 6
"""An episode of one example takes five queries a class beside it."""
MIN_CLASSES = 30
"""Leaves six each to choose by and to report: five-way episodes with a class to spare."""
SHARES = (0.6, 0.2, 0.2)
"""Of the classes: to learn from, to choose by, to report."""


def load_classes(folder: Path, spec: InputSpec) -> ClassPool:
    """Every picture of `folder/<class>/`, pre-processed as the service will pre-process them.

    Raises:
        DataError: lists every picture that cannot be used and every class that has too few.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; it should hold one folder of pictures for each class")
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(names) < MIN_CLASSES:
        raise DataError(f"{folder} has {len(names)} class folders, at least {MIN_CLASSES} are needed")
    inputs: list[NDArray[Any]] = []
    rows: list[NDArray[np.int64]] = []
    problems: list[str] = []
    for name in names:
        first = len(inputs)
        for path in sorted(p for p in (folder / name).iterdir() if p.is_file() and not p.name.startswith(".")):
            try:
                inputs.append(spec.read(path.read_bytes(), Caps()))
            except (OSError, UnreadableInput) as error:
                problems.append(f"{name}/{path.name}: {error}")
        rows.append(np.arange(first, len(inputs)))
        if len(rows[-1]) < MIN_IMAGES:
            problems.append(f"{name}: {len(rows[-1])} usable pictures, at least {MIN_IMAGES} are needed")
    if problems:
        shown = "\n  ".join(problems[:20]) + (f"\n  … and {len(problems) - 20} more" if len(problems) > 20 else "")
        raise DataError(f"{folder} cannot be used as it is:\n  {shown}")
    return ClassPool(np.stack(inputs), tuple(rows), tuple(names), np.zeros(len(names), np.int64))


def part_of(class_names: Sequence[str]) -> NDArray[np.int64]:
    """(n_classes,) 0 to learn from, 1 to choose by, 2 to report, by `SHARES`.

    Classes are ranked by the sha256 of their names, so the same names are always cut alike.
    """
    order = sorted(range(len(class_names)), key=lambda i: hashlib.sha256(class_names[i].encode()).hexdigest())
    n_test, n_development = (round(share * len(class_names)) for share in (SHARES[2], SHARES[1]))
    part = np.zeros(len(class_names), np.int64)
    part[order[:n_test]] = 2
    part[order[n_test : n_test + n_development]] = 1
    return part
