"""Turns a picture file as a user has it into upright pixels, for drawings and photographs alike.

Runs unchanged on training data, in the API and on exported models; what a kind does with the pixels is written in the
manifest. Knows numpy and Pillow only.
"""

from __future__ import annotations

import io
import re
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from meta_models.inputs.foreign import foreign
from meta_models.inputs.preview import Preview
from meta_models.inputs.reading import Caps, Described, UnreadableInput, too_large

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

MAX_WORKING_SIDE = 1024
"""Larger pictures are shrunk to this side first: strokes stay visible, work stays bounded."""

SMALLER = f"make it smaller, more than {MAX_WORKING_SIDE} a side are not looked at"

_WHITES = (1, *(2**bits - 1 for bits in (8, 10, 12, 14, 16, 24, 32)))
"""What white may be in a picture of more than 8 bits, or of floats."""


class BlankImageError(UnreadableInput):
    """The picture holds nothing that differs from its background."""

    def __init__(self, detail: str) -> None:
        super().__init__("blank_image", detail)


class Picture(Described):
    """What is true of pictures of every kind; a kind says how pixels become its array, in `fit`."""

    modality: ClassVar[str] = "image"
    encoded: ClassVar[bool] = True
    dtype: ClassVar[type[np.generic]] = np.uint8

    @abstractmethod
    def fit(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Upright pixels (height, width[, 3]) to one example, (channels, height, width).

        Raises:
            BlankImageError: nothing stands out from the background.
        """

    @staticmethod
    def recognises(data: bytes) -> bool:
        """True of every file that no other modality knows: what it is instead, `read` says."""
        return True

    def read(self, content: Any, caps: Caps) -> NDArray[np.uint8]:
        """The bytes of an image file to (channels, height, width).

        Raises:
            UnreadableInput: what is wrong with it.
        """
        return self.fit(self.decode(content, caps))

    def preview(self, row: NDArray[Any], backbone: Mapping[str, Any]) -> Preview:
        """(channels, height, width) as they are."""
        channels, height, width = row.shape
        of = "ink white, paper black" if channels == 1 else "red, green and blue"
        return Preview(f"{width}×{height} pixels, {of}", row[0] if channels == 1 else row.transpose(1, 2, 0))

    @staticmethod
    def n_pixels(content: bytes) -> int:
        """As an image file says of itself, without decoding it; 0 of what says nothing."""
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                return picture.width * picture.height
        except Exception:  # what is wrong with it, `decode` says
            return 0

    @staticmethod
    def decode(content: Any, caps: Caps) -> NDArray[np.uint8]:
        """The bytes of an image file to upright pixels, (height, width[, 3]), at most `MAX_WORKING_SIDE` a side.

        Raises:
            UnreadableInput: what is wrong with it.
        """
        if not content:
            raise UnreadableInput("empty_image", "the image has no bytes")
        if len(content) > caps.image_bytes:
            raise too_large("image", f"the image has {len(content)} bytes, at most {caps.image_bytes}")
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                if picture.width * picture.height > caps.image_pixels:
                    size = f"{picture.width}x{picture.height}"
                    raise too_large("image", f"the image is {size}, at most {caps.image_pixels} pixels; {SMALLER}")
                # A large JPEG need not be decoded finer than it is looked at.
                picture.draft(None, (MAX_WORKING_SIDE, MAX_WORKING_SIDE))
                picture.load()
                return _flatten(picture)
        except Image.DecompressionBombError as error:  # raised before the size can be read
            raise too_large("image", f"the image has more than {caps.image_pixels} pixels; {SMALLER}") from error
        except UnidentifiedImageError as error:
            other = foreign(content)
            found = f", this is {other}: convert it to one of them" if other else ""
            if not other and not re.search(rb"[\x00-\x08\x0e-\x1f]", content[:4096]):
                found = ", nor text in UTF-8 or marked UTF-16; save a text as UTF-8"
            detail = f"not an image of a known format ({', '.join(FORMATS)}){found}"
            raise UnreadableInput("undecodable_image", detail) from error
        except UnreadableInput:
            raise
        except Exception as error:
            raise UnreadableInput("undecodable_image", f"the image is damaged: {error}") from error


def preprocess(picture: Image.Image, spec: Picture) -> NDArray[np.uint8]:
    """Make one decoded picture fit `spec`.

    Args:
        picture: any mode, any size, EXIF rotation and transparency respected.
        spec: from the manifest of the meta-model.

    Returns:
        (channels, height, width) uint8.

    Raises:
        BlankImageError: nothing stands out from the background.
    """
    return spec.fit(_flatten(picture))


def _flatten(picture: Image.Image) -> NDArray[np.uint8]:
    """Upright grey or RGB, transparency laid on white, or on black where what is drawn is light."""
    picture = _shrunk(_eight_bits(_upright(picture)))
    if picture.mode == "RGBA":
        rgba = np.asarray(picture, dtype=np.float32)
        alpha = rgba[..., 3:] / 255.0
        weight = float(alpha.sum())
        light = weight > 0 and float((rgba[..., :3].mean(-1, keepdims=True) * alpha).sum()) / weight > 127.5
        # A picture that is opaque nearly everywhere brings its own background.
        background = 0.0 if light and float(alpha.mean()) < 0.9 else 255.0
        return np.rint(rgba[..., :3] * alpha + background * (1 - alpha)).astype(np.uint8)
    return np.asarray(picture)


def _upright(picture: Image.Image) -> Image.Image:
    """As the camera was held; as it lies where what the camera wrote of itself cannot be read."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # Pillow raises what it meets: the pixels are whole
        return picture


def _shrunk(picture: Image.Image) -> Image.Image:
    """At most `MAX_WORKING_SIDE` a side; L, RGB, RGBA or F."""
    longest = max(picture.size)
    return picture.reduce(-(-longest // MAX_WORKING_SIDE)) if longest > MAX_WORKING_SIDE else picture


def _eight_bits(picture: Image.Image) -> Image.Image:
    """L, RGB or RGBA: the modes that can be shrunk. Deeper grey is scaled by the depth that its largest value needs, so
    that a picture is the same in 8, 12 or 16 bits; it is shrunk first, since each copy takes several times as much."""
    if picture.mode.startswith(("I", "F")):
        floats = picture.convert("F")
        low, high = (float(value) for value in cast("tuple[float, float]", floats.getextrema()))
        deep = np.asarray(_shrunk(floats), dtype=np.float64)
        if not np.isfinite(deep).all():
            raise ValueError("a pixel is not finite, or huge")
        low = min(low, 0.0)
        white = next((w for w in _WHITES if high - low <= w), high - low)
        return Image.fromarray(np.rint((deep - low) * (255.0 / white)).astype(np.uint8))
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    if picture.mode in ("L", "RGB"):
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGB")
