"""Files of numbers: the vector that a `.npy` one holds, or what is wrong with it, in a server's own codes."""

from __future__ import annotations

import io
from typing import Any


class NoVectorError(ValueError):
    """A `.npy` file that holds no vector.

    Attributes:
        code: what a server calls it.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code

    @property
    def result(self) -> dict[str, Any]:
        """As a server answers to such an input."""
        return {"error": {"code": self.code, "status": 422, "detail": str(self)}}


def numbers_of(data: bytes) -> list[float | None]:
    """The numbers of a vector; JSON has no NaN and no infinity: of a null the server tells that a number is missing.

    Raises:
        NoVectorError: the file is damaged, or holds no numbers, or several vectors.
    """
    import numpy as np

    try:
        numbers: Any = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # numpy has no common base of what a damaged file raises
        raise NoVectorError("undecodable_vector", f"not a .npy file of numbers: {error}") from error
    if numbers.dtype.kind not in "biuf" or numbers.ndim != 1:
        found = f"{numbers.dtype} {numbers.shape}"
        raise NoVectorError("bad_vector", f"a vector is numbers with one axis, not {found}")
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        numbers = np.where(np.isfinite(numbers), numbers, None)
    return numbers.tolist()
