"""What commands are given to read: files, rows of `.npy` files, texts, folders of classes and CSV files, each with the
name that people know it by. Knows nothing of a server."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innerloop.cli.console import note
from innerloop.client import read_folder
from innerloop.client.inputs import Text, as_content, is_npy, lies
from innerloop.client.text_file import is_text, text_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Content = bytes | Path | str
"""A row of a `.npy` file as one of its own; a file; a text."""


@dataclass(frozen=True)
class Example:
    """One input.

    Attributes:
        name: a file, a row of it, or a text.
        content: None where it cannot be read.
        error: what is wrong with it then, as a server would say it.
        label: its class, of a labelled one.
    """

    name: str
    content: Content | None
    error: dict[str, str] | None = None
    label: str = ""


def given(inputs: Sequence[str]) -> list[Example]:
    """Files and texts of a command line; each row of a CSV file, or of a `.npy` file with two axes, is an input.

    Raises:
        ValueError: a CSV file has neither a column path nor text.
    """
    return [example for one in inputs for example in (_csv_inputs(Path(one)) if _is_csv(one) else _read(one))]


def labelled(source: Path) -> list[Example]:
    """Those of a folder with a folder per class, or of a CSV file, whose paths are relative to it.

    Raises:
        ValueError: it is neither; the message says what is wrong with it.
        OSError: it cannot be read.
    """
    if source.is_dir():
        _say_what_is_left_out(source)
        files = read_folder(source)
    else:
        return _csv_inputs(source, ("label",))
    return [example for label, file in files for example in _read(file, label)]


def by_content(examples: list[Example]) -> list[Example]:
    """In an order that what they hold decides, no name or place: a server tells of an example by where it stood
    when the same support set was sent first."""
    return sorted(examples, key=lambda example: (_digest(example.content), example.label))


def pairs(examples: Sequence[Example]) -> list[tuple[str, Content]]:
    """(label, content) of examples that can all be read.

    Raises:
        ValueError: names those that cannot.
    """
    if unreadable := [f"{e.name}: {e.error['detail']}" for e in examples if e.error]:
        shown = "\n  ".join(unreadable[:5])
        raise ValueError(f"{len(unreadable)} of {len(examples)} examples cannot be read\n  {shown}")
    return [(e.label, e.content) for e in examples if e.content is not None]


def answered(examples: Sequence[Example], ask: Callable[[list[Content]], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One result for each, in order: those that cannot be read have their error, `ask` is given the others."""
    readable = [e.content for e in examples if e.content is not None]
    answers = iter(ask(readable) if readable else [])
    return [{"file": e.name, **({"error": e.error} if e.error else next(answers))} for e in examples]


def _is_csv(one: str) -> bool:
    return one.lower().endswith(".csv") and lies(one, Path.is_file)


def _read(one: Path | str, label: str = "") -> list[Example]:
    name = str(one).encode(errors="backslashreplace").decode()  # it can be shown, whatever bytes are in it
    if name and lies(str(one), Path.is_dir):
        return [_unreadable(name, "unreadable_file", "this is a folder; name the files in it", label)]
    try:
        content = as_content(one)
    except OSError as error:
        return [_unreadable(name, "unreadable_file", error.strerror or str(error), label)]
    except ValueError:  # half of a character: a byte that was no UTF-8
        return [_unreadable(name, "undecodable_text", "this text is not UTF-8", label)]
    if isinstance(content, str):
        return [Example(name, content, label=label)]
    if not is_npy(content):
        return [Example(name, Path(one), label=label)]  # read once more when it is sent: many are too much to hold
    return _vectors(name, content, label)


def _digest(content: Content | None) -> bytes:
    data = b"" if content is None else as_content(content)
    if isinstance(data, bytes) and is_text(data):
        data = text_of(data)  # a file of it and a row of a table are the same
    return hashlib.sha256(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data).digest()


def _vectors(name: str, data: bytes, label: str) -> list[Example]:
    """The vector of a `.npy` file, or one for each row."""
    import numpy as np

    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # numpy has no common base of what a damaged file raises
        return [_unreadable(name, "undecodable_vector", f"not a .npy file of numbers: {error}", label)]
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2) or not array.size:
        detail = f"vectors are numbers with one axis, or two for one in each row, not {array.dtype} {array.shape}"
        return [_unreadable(name, "bad_vector", detail, label)]
    rows = [(name, array)] if array.ndim == 1 else [(f"{name}[{i}]", row) for i, row in enumerate(array)]
    return [
        Example(which, _npy(row), label=label)
        if np.isfinite(row).all()
        else _unreadable(which, "bad_vector", "NaN or infinity in it", label)
        for which, row in rows
    ]


def _npy(row: NDArray[Any]) -> bytes:
    import numpy as np

    file = io.BytesIO()
    np.save(file, row)
    return file.getvalue()


def _unreadable(name: str, code: str, detail: str, label: str) -> Example:
    return Example(name, None, {"code": code, "detail": detail}, label)


def _say_what_is_left_out(source: Path) -> None:
    for folder in filter(Path.is_dir, _visible(source)):
        inside = list(_visible(folder))
        if deeper := [path.name for path in inside if path.is_dir()]:
            note(f"{folder / deeper[0]} is not read: the files of a class lie in its folder, not deeper")
        if not any(path.is_file() for path in inside):
            note(f"{folder} holds no file, so there is no such class")


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))


def _csv_inputs(source: Path, also: tuple[str, ...] = ()) -> list[Example]:
    rows = _csv_rows(source, also)
    if "text" in rows[0]:
        return [Example(row["text"], Text(row["text"]), label=row.get("label", "")) for row in rows]
    return [one for row in rows for one in _read(source.parent / row["path"], row.get("label", ""))]


def _csv_rows(source: Path, also: tuple[str, ...]) -> list[dict[str, str]]:
    """At least one, each with an input and the columns `also`; without the white space around fields."""
    columns = ", and ".join(("columns path or text" if also else "a column path or text", *also))
    wanted = f"{source} must be {'a folder of class folders, or ' if also else ''}a CSV in UTF-8 with {columns}"
    try:
        file = io.StringIO(text_of(source.read_bytes()), newline="")
        delimiter = max(",;\t", key=file.readline().count)  # spreadsheets write what their country does
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
        header = [name.strip().casefold() for name in next(reader, [])]
        lines = [(number, fields) for number, fields in enumerate(reader, 2) if fields]
    except UnicodeDecodeError as error:
        found = "this file is neither UTF-8 nor UTF-16 with a byte order mark; save it as UTF-8"
        raise ValueError(f"{wanted}; {found}") from error
    except csv.Error as error:
        raise ValueError(f"{wanted}; {error}") from error
    content = "text" if "text" in header else "path"
    if not {content, *also} <= set(header):
        raise ValueError(f"{wanted}; its columns are {', '.join(header) or 'none'}")
    if not lines:
        raise ValueError(f"{wanted}; it has no rows")
    rows: list[dict[str, str]] = []
    for number, fields in lines:
        if len(fields) > len(header):
            raise ValueError(f"{source}, row {number}: more fields than columns; quote what has {delimiter!r} in it")
        row = {column: field.strip() for column, field in zip(header, fields, strict=False)}
        if missing := [column for column in (content, *also) if not row.get(column)]:
            raise ValueError(f"{source}, row {number}: no {missing[0]}")
        rows.append(row)
    return rows
