"""Exports at work without a server: files in, the same results as the service words them. No torch.

predict(Path("letters.onnx"), [Path("a.png")])
classify(Path("adapting.onnx"), [("ka", Path("ka/1.png")), …], [Path("a.png")])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerloop.client.inputs import as_content
from meta_models.exported import AdaptingClassifier, ExportedClassifier
from meta_models.inputs import UnreadableInput
from meta_models.inputs.reading import check_shape

Read = Callable[[bytes | str], NDArray[Any]]
Given = bytes | Path | str
"""What is in a file, a file, or a text."""


def predict(onnx: Path, files: Sequence[Given], *, top_k: int = 5) -> list[dict[str, Any]]:
    """One result per file, in order, from an exported classifier; a file that cannot be read has an `error`.

    Raises:
        NotAnExportError: `onnx` is no exported classifier.
    """
    exported = ExportedClassifier(onnx)
    return _answer(files, exported.read, exported.classes, exported, top_k)


def classify(
    onnx: Path, support: Sequence[tuple[str, Given]], files: Sequence[Given], *, top_k: int = 5
) -> list[dict[str, Any]]:
    """One result per file, in order: the graph adapts to `support` and classifies.

    Raises:
        NotAnExportError: `onnx` is no adapting graph.
        ValueError: the support set cannot be used; the message says why.
    """
    graph = AdaptingClassifier(onnx)
    read_one = _alike(graph.read)
    read = [(label, path, _read(path, read_one)) for label, path in support]
    named = [f"example {i}" if isinstance(given, bytes) else given for i, (_, given, _) in enumerate(read)]
    if broken := [f"{n}: {f['detail']}" for n, (_, _, f) in zip(named, read, strict=True) if isinstance(f, dict)]:
        raise ValueError(f"{len(broken)} of {len(read)} examples cannot be used\n  " + "\n  ".join(broken[:5]))
    classes = tuple(sorted({label for label, _, _ in read}))
    labels = np.array([classes.index(label) for label, _, _ in read], dtype=np.int64)
    examples = np.stack([found for _, _, found in read if not isinstance(found, dict)])
    return _answer(
        files,
        read_one,
        classes,
        lambda queries: graph(examples, labels, len(classes), np.stack(queries)),
        top_k,
    )


def _answer(
    files: Sequence[Given],
    read_one: Read,
    classes: tuple[str, ...],
    run: Callable[[list[NDArray[Any]]], tuple[NDArray[np.float32], NDArray[np.bool_]]],
    top_k: int,
) -> list[dict[str, Any]]:
    read = [_read(path, read_one) for path in files]
    inputs = [found for found in read if not isinstance(found, dict)]
    answers = iter(zip(*run(inputs), strict=True) if inputs else ())
    return [
        {"error": found} if isinstance(found, dict) else _word(classes, *next(answers), top_k=top_k) for found in read
    ]


def _alike(read: Read) -> Read:
    """The same, of inputs that can stand beside the first one read."""
    shape: tuple[int, ...] = ()

    def alike(content: bytes | str) -> NDArray[Any]:
        nonlocal shape
        row = read(content)
        check_shape(row.shape, shape)
        shape = row.shape
        return row

    return alike


def _read(given: Given, read: Read) -> NDArray[Any] | dict[str, Any]:
    try:
        return read(as_content(given))
    except UnreadableInput as error:
        return {"code": error.code, "status": error.status, "detail": str(error)}


def _word(classes: tuple[str, ...], row: NDArray[np.float32], rejected: np.bool_, top_k: int) -> dict[str, Any]:
    # Equal probabilities are listed by name, as the service does.
    order = sorted(range(len(classes)), key=lambda i: (-row[i], classes[i]))
    return {
        "label": None if rejected else classes[order[0]],
        "confidence": float(row[order[0]]),
        "rejected": bool(rejected),
        "scores": [{"label": classes[i], "probability": float(row[i])} for i in order[:top_k]],
    }
