"""Drawings: what stands out from a plain background, cut out and centred.

Runs unchanged on training data, in the API and on exported models; what it does is written in the
manifest (`DrawingSpec`). Knows numpy and Pillow only.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from meta_models.inputs.picture import BlankImageError, Picture

FAINT = 24
"""Largest difference from the background, of 255, that is still called blank."""
DRAWN = 0.35
"""The crop is around what differs by more than this part of the largest difference."""
PAPER = 0.1
"""Part of the darkest that is still the paper's grain."""

_SHADED = 32
"""`FAINT` for paper with a shadow or grain on it."""
_EDGE, _GREY, _COLOURED = 0.6, 0.4, 0.75
"""Share of its border, and of a grey or a coloured picture, that is paper in a drawing."""
_SAMPLED_SIDE = 32
"""Pixels looked at, along the longer side."""


class DrawingSpec(Picture):
    """Strokes on a plain background become ink (255) on nothing (0), cut out and centred.

    The background is the median colour of the border, ink is the distance from it: dark on white,
    white on black and colours all come out the same. The crop is a square around the ink, at least
    `min_crop` of the picture's longer side (1 keeps the whole frame), area-averaged to `size`.
    """

    kind: Literal["drawing"] = "drawing"
    size: Annotated[int, Field(ge=8, le=256)] = 28
    margin: Annotated[float, Field(ge=0, le=1)] = 0.1
    min_crop: Annotated[float, Field(ge=0, le=1)] = 0.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one example, (channels, height, width)."""
        return (1, self.size, self.size)

    def fit(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """`drawing`."""
        return drawing(pixels, self)

    def examples(
        self, rng: np.random.Generator, classes: NDArray[np.int64], *, wider: bool = False
    ) -> NDArray[np.uint8]:
        """Made-up examples (n, *shape) to compare graphs on: random blocks, an eighth of them an example's own.

        Blocks, unlike noise, differ from one another to a network, trained or not; and support sets without classes to
        find would have an inner loop blow up the rounding of float32 itself.
        """
        templates = self._blocks(rng, int(classes.max()) + 1)
        changes = [self._blocks(rng, len(classes)) for _ in range(3)]
        return templates[classes] ^ (changes[0] & changes[1] & changes[2])

    def _blocks(self, rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
        channels, height, width = self.shape
        coarse = rng.integers(0, 2, (n, channels, -(-height // 4), -(-width // 4)), dtype=np.uint8) * 255
        return coarse.repeat(4, axis=2).repeat(4, axis=3)[:, :, :height, :width]


def drawing(pixels: NDArray[np.uint8], spec: DrawingSpec) -> NDArray[np.uint8]:
    """The array form of `preprocess`: (height, width[, 3]) uint8 to (1, size, size)."""
    ink = _ink(pixels)
    peak = int(ink.max(initial=0))
    if peak <= FAINT:
        raise BlankImageError(
            f"no drawing found: no pixel differs from the background by more than {FAINT} of 255 (largest: {peak})"
        )
    box = _crop_box(ink > int(DRAWN * peak), spec)
    side = box[2] - box[0]
    resample = Image.Resampling.BOX if side >= spec.size else Image.Resampling.BILINEAR
    canvas, offset = _pad_to(ink, box)
    shifted = (box[0] + offset, box[1] + offset, box[2] + offset, box[3] + offset)
    small = Image.fromarray(canvas).resize((spec.size, spec.size), resample, box=shifted)
    out = np.asarray(small)
    if not out.any():
        raise BlankImageError(f"no drawing found: what there is vanishes at {spec.size}x{spec.size}")
    return _stretched(int(out.max()))[out][None]


def looks_drawn(pixels: NDArray[np.uint8]) -> bool:
    """Whether a picture, (height, width[, 3]), is strokes on a plain background rather than a photograph.

    Its border is of one colour and so is most of it. Photographs of one thing on a plain background look drawn too.
    """
    sampled = pixels[:: (step := -(-max(pixels.shape[:2]) // _SAMPLED_SIDE)), ::step]
    paper = _ink(sampled) <= _SHADED
    edge = (paper[0].mean() + paper[-1].mean() + paper[:, 0].mean() + paper[:, -1].mean()) / 4
    is_grey = pixels.ndim == 2 or int((sampled.max(-1) - sampled.min(-1)).max()) <= FAINT
    return bool(edge >= _EDGE and paper.mean() >= (_GREY if is_grey else _COLOURED))


@cache
def _stretched(peak: int) -> NDArray[np.uint8]:
    """What each of the 256 values becomes where `peak` is the largest: thin strokes in a large picture average to
    almost nothing, so they are stretched, and the paper's grain is dropped.
    """
    values, floor = np.arange(256, dtype=np.float32), PAPER * peak
    return np.rint(np.clip((values - floor) * (255.0 / (peak - floor)), 0, 255)).astype(np.uint8)


def _ink(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Distance from the border's median colour, largest over the channels: (height, width) uint8."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    background = np.partition(border, len(border) // 2, axis=0)[len(border) // 2]
    distance = np.maximum(pixels, background) - np.minimum(pixels, background)
    return distance if pixels.ndim == 2 else distance.max(-1)


def _crop_box(mask: NDArray[np.bool_], spec: DrawingSpec) -> tuple[float, float, float, float]:
    """A square (left, top, right, bottom) around the ink; it may reach past the picture."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom = float(rows[0]), float(rows[-1]) + 1
    left, right = float(columns[0]), float(columns[-1]) + 1
    side = max(bottom - top, right - left) * (1 + 2 * spec.margin)
    side = max(side, spec.min_crop * max(mask.shape))
    x, y = (left + right) / 2, (top + bottom) / 2
    if spec.min_crop >= 1:
        y, x = mask.shape[0] / 2, mask.shape[1] / 2
        side = float(max(mask.shape))
    return (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def _pad_to(ink: NDArray[np.uint8], box: tuple[float, float, float, float]) -> tuple[NDArray[np.uint8], int]:
    """Pad with background so that `box` lies inside; returns the padded array and the shift."""
    height, width = ink.shape
    over = max(-box[0], -box[1], box[2] - width, box[3] - height, 0.0)
    pad = int(np.ceil(over))
    return (np.pad(ink, pad) if pad else ink), pad
