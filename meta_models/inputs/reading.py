"""What reading one input needs and how it fails, whatever the modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from meta_models.inputs.preview import Preview


@dataclass(frozen=True)
class Caps:
    """What one input may cost to read."""

    image_bytes: int = 10 * 2**20
    image_pixels: int = 25_000_000
    text_characters: int = 20_000
    audio_bytes: int = 10 * 2**20
    audio_seconds: float = 60


class UnreadableInput(ValueError):
    """One input cannot be used; `code` says how, `status` is what it would be as an answer of its own."""

    def __init__(self, code: str, detail: str, status: int = 422) -> None:
        super().__init__(detail)
        self.code, self.status = code, status


def too_large(what: str, detail: str) -> UnreadableInput:
    """The input is over a cap."""
    return UnreadableInput(f"{what}_too_large", detail, 413)


def check_shape(found: tuple[int, ...], expected: tuple[int | str, ...]) -> None:
    """Refuse an input that cannot stand beside the model's others.

    Raises:
        UnreadableInput: the shapes differ; an expected one of () is any, and so is a size in words.
    """
    sizes = [n if isinstance(size, str) else size for n, size in zip(found, expected, strict=False)]
    if expected and (len(found) != len(expected) or tuple(sizes) != found):
        shapes = ("×".join(map(str, shape)) for shape in (found, expected))
        raise UnreadableInput("wrong_dimensions", "this input has {} dimensions, the model's have {}".format(*shapes))


class Described(BaseModel):
    """What is true of inputs of most kinds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def located(self, folder: Path) -> Self:
        """With the files it names in `folder`, the published one."""
        return self

    def portable(self) -> Self:
        """With those files inside, to stand in an export."""
        return self

    def with_name(self, row: NDArray[Any], name: str) -> NDArray[Any]:
        """An example of a support set, whose class name may say something."""
        return row

    def unnamed(self, rows: NDArray[Any]) -> NDArray[Any]:
        """(n, *shape) to what remains of the examples without the names of their classes."""
        return rows

    def doubts(self, rows: NDArray[Any]) -> dict[str, NDArray[np.bool_]]:
        """What a meta-model cannot make much of: in words, which (n,) of the examples (n, *shape) it is true of."""
        return {}


class Reads(Protocol):
    """What every input spec offers besides its `kind`.

    Attributes:
        modality: what a client sends, `{modality: ...}`.
        encoded: whether JSON carries it as base64 of a file.
        dtype: of one example.
    """

    modality: ClassVar[str]
    encoded: ClassVar[bool]
    dtype: ClassVar[type[np.generic]]

    @property
    def shape(self) -> tuple[int | str, ...]:
        """Of one example; a name stands for a size that the support set decides."""
        ...

    @staticmethod
    def recognises(data: bytes) -> bool:
        """Whether a file is of this modality, by its first bytes."""
        ...

    def read(self, content: Any, caps: Caps) -> NDArray[Any]:
        """One input, the bytes of a file or what JSON held, as the meta-model reads it.

        Raises:
            UnreadableInput: what is wrong with it.
        """
        ...

    def located(self, folder: Path) -> Self:
        """`Described.located`."""
        ...

    def portable(self) -> Self:
        """`Described.portable`."""
        ...

    def with_name(self, row: NDArray[Any], name: str) -> NDArray[Any]:
        """`Described.with_name`."""
        ...

    def unnamed(self, rows: NDArray[Any]) -> NDArray[Any]:
        """`Described.unnamed`."""
        ...

    def doubts(self, rows: NDArray[Any]) -> dict[str, NDArray[np.bool_]]:
        """`Described.doubts`."""
        ...

    def preview(self, row: NDArray[Any], backbone: Mapping[str, Any]) -> Preview:
        """What the meta-model sees of one example, for people.

        Args:
            row: (*shape), what `read` gave or a support set keeps.
            backbone: of the manifest: what its graph makes of the row first.
        """
        ...

    def examples(self, rng: np.random.Generator, classes: NDArray[np.int64], *, wider: bool = False) -> NDArray[Any]:
        """(n, *shape) made-up examples of the given classes, to compare graphs on and to warm up with.

        `wider` gives sizes that the support set decides another value.
        """
        ...
