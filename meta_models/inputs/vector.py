"""Embeddings and rows of a table: vectors of whatever length the client's own model gives. Knows numpy only."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from meta_models.inputs.preview import TWO_SIDES, Preview, coloured
from meta_models.inputs.reading import Caps, Described, UnreadableInput, too_large

MAX_DIMENSIONS = 8192
MAX_AXES = 32
"""Of an array in a file: as many as every numpy has."""
N_DIMENSIONS = "n_dimensions"
"""Names the axis whose size the support set decides."""
MAX_MAGNITUDE = 1e30
"""Beyond it float32 runs out when values are compared."""

COLUMNS = 32
"""Of a picture of a vector: dimensions from left to right, then from top to bottom."""

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,  # which differs in names of fields alone
}
_NUMBERS = "fiub"
"""Kinds of dtype: floats, whole numbers and truth."""


class VectorSpec(Described):
    """Finite numbers, kept as float32; all vectors of a model have the same number of dimensions."""

    modality: ClassVar[str] = "vector"
    encoded: ClassVar[bool] = False
    dtype: ClassVar[type[np.generic]] = np.float32

    kind: Literal["vector"] = "vector"

    @property
    def shape(self) -> tuple[int | str, ...]:
        """(n_dimensions,), which the support set decides."""
        return (N_DIMENSIONS,)

    @staticmethod
    def recognises(data: bytes) -> bool:
        """A `.npy` file."""
        return data[: len(np.lib.format.MAGIC_PREFIX)] == np.lib.format.MAGIC_PREFIX

    def read(self, content: Any, caps: Caps) -> NDArray[np.float32]:
        """A list of numbers, where None is one that is missing, an array or a `.npy` file to (n_dimensions,) float32.

        Raises:
            UnreadableInput: what is wrong with it.
        """
        array = load_npy(content) if isinstance(content, bytes) else _as_array(content)
        if array.ndim != 1:
            raise UnreadableInput("bad_vector", f"a vector has one axis, this array has the shape {array.shape}")
        vector = to_float32(array)
        if not is_usable(vector[None])[0]:
            raise UnreadableInput("bad_vector", why_unusable(vector))
        return vector

    def preview(self, row: NDArray[Any], backbone: Mapping[str, Any]) -> Preview:
        """(n_dimensions,) as a cell each, blue below zero and red above; behind the last one black."""
        words = (
            f"{len(row)} dimensions, norm {np.linalg.norm(row.astype(np.float64)):.4g}, "
            f"values from {row.min():.4g} to {row.max():.4g}"
        )
        n_columns = min(len(row), COLUMNS)
        cells = np.zeros((-(-len(row) // n_columns) * n_columns, 3), np.uint8)
        cells[: len(row)] = coloured((_evened(row)[None] + 1) / 2, TWO_SIDES)[0]
        return Preview(words, cells.reshape(-1, n_columns, 3))

    def examples(
        self, rng: np.random.Generator, classes: NDArray[np.int64], *, wider: bool = False
    ) -> NDArray[np.float32]:
        """(n, 19 or 37) a random centre for each class, noise around it, every dimension with a unit of its own."""
        size = 37 if wider else 19
        centres = rng.normal(size=(int(classes.max()) + 1, size))
        units = np.exp(rng.normal(size=size))
        return (units * (centres[classes] + 0.5 * rng.normal(size=(len(classes), size)))).astype(np.float32)


def _as_array(content: Any) -> NDArray[Any]:
    try:
        return np.asarray(content, np.float64 if isinstance(content, list) else None)
    except (TypeError, ValueError) as error:
        raise UnreadableInput("bad_vector", f"a vector is a list of numbers: {error}") from error


def read_rows(
    array: NDArray[Any], n_dimensions: int | None = None
) -> tuple[NDArray[np.float32], dict[int, UnreadableInput]]:
    """(n, n_dimensions) numbers to the rows that can be used, and what is wrong with each of the others.

    Raises:
        UnreadableInput: the array as a whole holds nothing that can be used.
    """
    if n_dimensions not in (None, array.shape[1]):
        detail = f"these inputs have {array.shape[1]} dimensions, the model's have {n_dimensions}"
        raise UnreadableInput("wrong_dimensions", detail)
    vectors = to_float32(array)
    usable = is_usable(vectors)
    if usable.all():
        return vectors, {}
    broken = {int(i): UnreadableInput("bad_vector", why_unusable(vectors[i])) for i in np.flatnonzero(~usable)}
    return vectors[usable], broken


def load_npy(data: bytes) -> NDArray[Any]:
    """An array from the bytes of a `.npy` file; never objects, so never code.

    Raises:
        UnreadableInput: it is none, holds something else than numbers, or rows of nothing.
    """
    file = io.BytesIO(data)
    try:
        shape, fortran_order, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    except Exception as error:  # numpy has no common base of what a damaged header raises, nor words for a stranger
        raise UnreadableInput("undecodable_vector", "not a .npy file, or its header is damaged") from error
    if len(shape) > MAX_AXES or not all(0 <= size < 2**63 for size in shape):
        raise UnreadableInput("undecodable_vector", f"the header promises an array of shape {shape}")
    if 0 in shape[1:]:  # any number of rows, in no byte
        raise UnreadableInput("bad_vector", f"a vector has 1 to {MAX_DIMENSIONS} dimensions, the shape is {shape}")
    if dtype.kind not in _NUMBERS:
        raise UnreadableInput("undecodable_vector", f"a vector holds real numbers, this file {dtype}")
    # Compared before anything is allocated: a header may claim any size.
    size, expected = len(data) - file.tell(), math.prod(shape) * dtype.itemsize
    if size != expected:
        raise UnreadableInput("undecodable_vector", f"the header promises {expected} bytes of numbers, found {size}")
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order="F" if fortran_order else "C")


def to_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """(..., n_dimensions) numbers as the meta-models read them; what has no float32 becomes infinite.

    Raises:
        UnreadableInput: the array holds no real numbers, no dimension or too many.
    """
    if array.dtype.kind not in _NUMBERS:
        raise UnreadableInput("bad_vector", f"a vector holds real numbers, this one {array.dtype}")
    if not 1 <= array.shape[-1] <= MAX_DIMENSIONS:
        detail = f"a vector has 1 to {MAX_DIMENSIONS} dimensions, this one {array.shape[-1]}"
        raise UnreadableInput("bad_vector", detail) if not array.shape[-1] else too_large("vector", detail)
    with np.errstate(over="ignore"):
        # Adding zero makes -0.0 and 0.0 the same bytes, hence the same example.
        return array.astype(np.float32) + np.float32(0)


def is_usable(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(n, n_dimensions) to (n,): finite and not huge."""
    # One pass: a NaN fails every comparison.
    return np.asarray((np.abs(vectors) <= MAX_MAGNITUDE).all(1))


def why_unusable(vector: NDArray[np.float32]) -> str:
    """What is wrong with a vector that is not usable, in words."""
    place = int(np.flatnonzero(~(np.abs(vector) <= MAX_MAGNITUDE))[0])
    found = "infinite or too large" if np.isinf(vector[place]) else vector[place]
    return f"dimension {place} is {found}; every value must be finite and at most {MAX_MAGNITUDE:g} in size"


def _evened(row: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n_dimensions,) from -1 to 1: linear to about the median size, logarithmic beyond, so that a column of a table
    in large units does not leave the others white."""
    sizes = np.abs(row.astype(np.float64))
    if not sizes.any():
        return sizes
    bent = np.arcsinh(row / np.median(sizes[sizes > 0]))
    return bent / np.abs(bent).max()
