"""Your own labelled examples, a folder for each class or a CSV of texts, as classes to meta-train on."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meta_models.datasets import ClassPool, DataError
from meta_models.inputs import Caps, Reads, UnreadableInput
from meta_models.inputs.text_file import text_of

MIN_EXAMPLES = 6
"""An episode of one example takes five queries a class beside it."""
MIN_CLASSES = 30
"""Leaves six each to choose by and to report: five-way episodes with a class to spare."""
SHARES = (0.6, 0.2, 0.2)
"""Of the classes: to learn from, to choose by, to report."""

Content = tuple[str, Path | str]
"""Where an example is, for people, and its file or its text."""


def load_classes(
    source: Path,
    spec: Reads,
    n_classes: int = MIN_CLASSES,
    most: int | None = None,
    prepare: Callable[[NDArray[Any]], NDArray[Any]] = lambda inputs: inputs,
) -> ClassPool:
    """Every example of `source`, `folder/<class>/<file>` or a CSV of text,label, read as the service will read it.

    Args:
        source: the folder or CSV.
        spec: how examples are read.
        n_classes: fewest that will do.
        most: examples read of each class, the first ones.
        prepare: makes of one class's inputs (n, *shape) what the pool holds of them.

    Raises:
        DataError: lists every example that cannot be used and every class that has too few; or `source` is a CSV, and
            what is read are no texts.
    """
    if _is_csv(source) and spec.modality != "text":
        wanted = "give a folder with a folder of files for each class"
        raise DataError(f"{source}: a CSV is for texts, and {spec.modality} files are read here; {wanted}")
    classes = _contents(source)
    if len(classes) < n_classes:
        beside = left_out(source)
        raise DataError(
            f"{source} has {len(classes)} classes, at least {n_classes} are needed" + (f"; {beside}" if beside else "")
        )
    prepared: list[NDArray[Any]] = []
    problems: list[str] = []
    shape: tuple[int, ...] | None = None
    for name, contents in sorted(classes.items()):
        inputs: list[NDArray[Any]] = []
        for where, content in contents[:most]:
            try:
                data = content.read_bytes() if isinstance(content, Path) else content
                row = spec.with_name(spec.read(data, Caps()), name)
            except (OSError, UnreadableInput) as error:
                problems.append(f"{where}: {error}")
                continue
            shape = shape or row.shape
            if row.shape == shape:
                inputs.append(row)
            else:  # vectors alone have a length of their own
                problems.append(f"{where}: {row.size} numbers, those before have {math.prod(shape)}")
        if len(inputs) < MIN_EXAMPLES:
            problems.append(f"{name}: {len(inputs)} usable examples, at least {MIN_EXAMPLES} are needed")
        if not problems:
            prepared.append(prepare(np.stack(inputs)))
    if problems:
        shown = "\n  ".join(problems[:20]) + (f"\n  … and {len(problems) - 20} more" if len(problems) > 20 else "")
        raise DataError(f"{source} cannot be used as it is:\n  {shown}")
    names = np.repeat(np.array(sorted(classes)), [len(rows) for rows in prepared])
    return ClassPool.by_label(np.concatenate(prepared), names, np.arange(len(names)))


def _contents(source: Path) -> dict[str, list[Content]]:
    """By class; a link that leads nowhere is one that cannot be read.

    Raises:
        DataError: `source` holds no classes, or the name of one is not UTF-8, which digests and answers are in.
    """
    if _is_csv(source):
        return _texts(source)
    if not source.is_dir():
        raise DataError(f"{source} is not a folder; it should hold one folder of files for each class")
    folders = [path for path in _visible(source) if path.is_dir()]
    if unknown := [folder.name for folder in folders if _said(folder.name) != folder.name]:
        raise DataError(f"{source}: the name of the class {_said(unknown[0])} is not UTF-8; give its folder another")
    return {
        folder.name: [
            (f"{folder.name}/{path.name}", path) for path in _visible(folder) if path.is_file() or _leads_nowhere(path)
        ]
        for folder in folders
    }


def left_out(source: Path) -> str:
    """What of a folder of classes is not read, in words, or nothing: files beside the classes, folders in them, and
    pipes and the like."""
    if not source.is_dir():
        return ""
    beside = [path for path in _visible(source) if not path.is_dir()]
    held = [path for folder in _visible(source) if folder.is_dir() for path in _visible(folder) if not path.is_file()]
    within = [path for path in held if path.is_dir()]
    others = [path for path in held if not path.is_dir() and not _leads_nowhere(path)]
    n_files = sum(path.is_file() for folder in within for path in folder.rglob("*"))
    said = [
        f"{len(beside)} files beside the folders of the classes (such as {beside[0].name})" if beside else "",
        f"{n_files} files in folders within a class (such as {within[0].relative_to(source)})" if within else "",
        f"{len(others)} that are no files (such as {others[0].relative_to(source)})" if others else "",
    ]
    told = f"not read: {', '.join(filter(None, said))}; a class is a folder right in {source}" if any(said) else ""
    return _said(told)


def _said(name: str) -> str:
    r"""As it can be printed: bytes of a file's name that are not UTF-8 as `\udc…`."""
    return name.encode(errors="backslashreplace").decode()


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _is_csv(source: Path) -> bool:
    return source.suffix.lower() == ".csv" and source.is_file()


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))


def _texts(source: Path) -> dict[str, list[Content]]:
    found: dict[str, list[Content]] = {}
    try:
        file = io.StringIO(text_of(source.read_bytes()), newline="")
    except UnicodeDecodeError as error:
        wanted = f"{source} must be a CSV in UTF-8 with columns text and label"
        raise DataError(f"{wanted}; it is neither that nor UTF-16 with a byte order mark; save it as UTF-8") from error
    delimiter = max(",;\t", key=file.readline().count)
    file.seek(0)
    rows = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True)
    rows.fieldnames = names = [name.strip() for name in rows.fieldnames or ()]
    if not {"text", "label"} <= set(names):
        raise DataError(f"{source} must have columns text and label, found {', '.join(names)}")
    for number, row in enumerate(rows, 2):
        label = (row["label"] or "").strip()
        if not label or row["text"] is None:
            raise DataError(f"{source}, row {number}: text and label are needed")
        found.setdefault(label, []).append((f"row {number}", row["text"]))
    return found


def part_of(class_names: Sequence[str], shares: tuple[float, float, float] = SHARES) -> NDArray[np.int64]:
    """(n_classes,) 0 to learn from, 1 to choose by, 2 to report, by `shares`.

    Classes are ranked by the sha256 of their names, so the same names are always cut alike.
    """
    order = sorted(range(len(class_names)), key=lambda i: hashlib.sha256(class_names[i].encode()).hexdigest())
    n_test, n_development = (round(share * len(class_names)) for share in (shares[2], shares[1]))
    part = np.zeros(len(class_names), np.int64)
    part[order[:n_test]] = 2
    part[order[n_test : n_test + n_development]] = 1
    return part
