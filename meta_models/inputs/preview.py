"""One example as a meta-model sees it, for people: words, and but for texts a picture. Knows numpy and Pillow."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

SIDE = 320
"""Longest side of a PNG, in pixels; what is larger stays as it is."""

Colours = tuple[tuple[int, int, int], ...]
"""Red, green and blue at equal distances from 0 to 1; what lies between is mixed."""

HEAT: Colours = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))
"""From black over purple to a pale yellow: Smith & van der Walt's magma."""

TWO_SIDES: Colours = ((33, 102, 172), (247, 247, 247), (178, 24, 43))
"""Blue, white, red: Brewer's RdBu."""


@dataclass(frozen=True)
class Preview:
    """What `Reads.preview` makes of an example.

    Attributes:
        words: says what is seen, on one line or a few.
        pixels: (height, width) or (height, width, 3) uint8, a pixel for each number; None where words are all.
    """

    words: str
    pixels: NDArray[np.uint8] | None = None

    def png(self) -> bytes:
        """The picture enlarged without smoothing, `words` as its Description.

        Raises:
            ValueError: there is no picture.
        """
        if self.pixels is None:
            raise ValueError("this preview has no picture, only words")
        height, width = self.pixels.shape[:2]
        scale = max(1, SIDE // max(height, width))
        about, file = PngInfo(), io.BytesIO()
        about.add_itxt("Description", self.words)
        enlarged = Image.fromarray(self.pixels).resize((width * scale, height * scale), Image.Resampling.NEAREST)
        enlarged.save(file, "PNG", pnginfo=about)
        return file.getvalue()


def coloured(values: NDArray[np.floating], colours: Colours) -> NDArray[np.uint8]:
    """(height, width) numbers from 0 to 1 to (height, width, 3)."""
    places = np.linspace(0, 1, len(colours))
    channels = [np.interp(values, places, channel) for channel in zip(*colours, strict=True)]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)
