"""Many vectors at once: `.npy` in bodies and parts, `.npz` in answers. Data, never code: objects are refused."""

from __future__ import annotations

import io
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import FailFast, TypeAdapter, ValidationError

from adapter.errors import MalformedRequest, TooLarge, Unprocessable
from api.decode import Payload
from meta_models.inputs import UnreadableInput, VectorSpec
from meta_models.inputs.vector import load_npy

NPY, NPZ = "application/x-npy", "application/x-npz"
MAX_ROWS = 10_000
"""Inputs of a form, all its files together."""

_LABELS = TypeAdapter(Annotated[list[str], FailFast()])


def load_body(data: bytes) -> NDArray[Any]:
    """(n, …) queries from a body that is a `.npy` file.

    Raises:
        MalformedRequest: it is none.
        Unprocessable: it does not hold rows, or rows of nothing.
    """
    try:
        array = load_npy(data)
    except UnreadableInput as error:
        refusal = MalformedRequest if error.code == "undecodable_vector" else Unprocessable
        raise refusal(str(error), code=error.code) from error
    if array.ndim != 2:
        raise Unprocessable(
            f"the array needs two axes, inputs and their dimensions, not the shape {array.shape}", code="bad_vector"
        )
    return array


def spread(payload: Payload, n_before: int = 0) -> list[Payload]:
    """A `.npy` file with two axes is an input in each row; every other file is one input.

    Raises:
        TooLarge: with the `n_before` inputs of the form before them there are too many.
    """
    if not VectorSpec.recognises(payload.content):
        return [payload]
    try:
        array = load_npy(payload.content)
    except UnreadableInput:
        return [payload]  # refused where the example is read
    if array.ndim != 2:
        return [payload]
    check_rows(n_before + len(array), payload.pointer)
    return [Payload(row, f"{payload.pointer}[{i}]", payload.label, "vector") for i, row in enumerate(array)]


def labelled_rows(vectors: bytes, labels: bytes | str, n_before: int = 0) -> list[Payload]:
    """Part `vectors`, a `.npy` file (n, n_dimensions), with part `labels`, a JSON list of n labels.

    Raises:
        Unprocessable: one of them is not what it should be, or their lengths differ.
        TooLarge: as `spread`.
    """
    if not labels:
        raise Unprocessable(
            "part vectors comes with part labels, a JSON list of a label for each row",
            code="bad_labels",
            pointer="labels",
        )
    try:
        array = load_npy(vectors)
    except UnreadableInput as error:
        raise Unprocessable(str(error), code=error.code, pointer="vectors") from error
    if array.ndim != 2:
        raise Unprocessable(
            f"vectors needs two axes, not the shape {array.shape}", code="bad_vector", pointer="vectors"
        )
    check_rows(n_before + len(array), "vectors")
    try:
        names = _LABELS.validate_json(labels)
    except ValidationError as error:
        raise Unprocessable("labels is a JSON list of texts", code="bad_labels", pointer="labels") from error
    if len(names) != len(array):
        raise Unprocessable(
            f"as many labels as vectors are needed, found {len(array)} vectors and {len(names)} labels",
            code="bad_labels",
            pointer="labels",
        )
    return [
        Payload(row, f"vectors[{i}]", name, "vector") for i, (row, name) in enumerate(zip(array, names, strict=True))
    ]


def npz(arrays: dict[str, NDArray[Any]]) -> bytes:
    """An uncompressed `.npz` file; `numpy.load(file, allow_pickle=False)` reads it."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def check_rows(n: int, pointer: str) -> None:
    """Refuse more inputs than a form may hold.

    Raises:
        TooLarge: there are more.
    """
    if n > MAX_ROWS:
        raise TooLarge(f"at most {MAX_ROWS} inputs a form, found {n}", code="too_many_inputs", pointer=pointer)
