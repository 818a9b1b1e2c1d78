"""Photographs: colours as they are, the middle square of the frame, shrunk."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from meta_models.inputs.picture import Picture


class PhotoSpec(Picture):
    """The largest square in the middle of the frame, resized to `size` with antialiasing.

    Grey pictures become colour ones with three equal channels. A picture of `size` x `size` stays as it is.
    """

    kind: Literal["photo"] = "photo"
    size: Annotated[int, Field(ge=8, le=512)] = 32

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one example, (channels, height, width)."""
        return (3, self.size, self.size)

    def fit(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(height, width[, 3]) uint8 to (3, size, size)."""
        height, width = pixels.shape[:2]
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        picture = Image.fromarray(pixels).convert("RGB")
        box = (left, top, left + side, top + side)
        small = picture.resize((self.size, self.size), Image.Resampling.BILINEAR, box=box)
        return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))

    def examples(
        self, rng: np.random.Generator, classes: NDArray[np.int64], *, wider: bool = False
    ) -> NDArray[np.uint8]:
        """Made-up examples (n, *shape) to compare graphs on: patches of colour, part of them an example's own."""
        templates = self._patches(rng, int(classes.max()) + 1)
        own = self._patches(rng, len(classes))
        return (0.8 * templates[classes] + 0.2 * own).astype(np.uint8)

    def _patches(self, rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
        coarse = rng.integers(0, 256, (n, 3, -(-self.size // 8), -(-self.size // 8)), dtype=np.uint8)
        return coarse.repeat(8, axis=2).repeat(8, axis=3)[:, :, : self.size, : self.size]
