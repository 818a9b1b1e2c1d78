"""Turns a picture file as a user has it into upright pixels, for drawings and photographs alike.

Runs unchanged on training data, in the API and on exported models; what a kind does with the pixels is written in the
manifest. Knows numpy and Pillow only.
"""

from __future__ import annotations

import io
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from meta_models.inputs.reading import Caps, Described, UnreadableInput, too_large

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

MAX_WORKING_SIDE = 1024
"""Larger pictures are shrunk to this side first: strokes stay visible, work stays bounded."""


class BlankImageError(UnreadableInput):
    """The picture holds nothing that differs from its background."""

    def __init__(self, detail: str) -> None:
        super().__init__("blank_image", detail)


class Picture(Described):
    """What is true of pictures of every kind; a kind says how pixels become its array, in `fit`."""

    modality: ClassVar[str] = "image"
    encoded: ClassVar[bool] = True
    dtype: ClassVar[type[np.generic]] = np.uint8

    def fit(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Upright pixels (height, width[, 3]) to one example, (channels, height, width).

        Raises:
            BlankImageError: nothing stands out from the background.
        """
        raise NotImplementedError

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
                    raise too_large("image", f"the image is {size}, at most {caps.image_pixels} pixels")
                picture.load()
                return _flatten(picture)
        except Image.DecompressionBombError as error:  # raised before the size can be read
            raise too_large("image", f"the image has more than {caps.image_pixels} pixels") from error
        except UnidentifiedImageError as error:
            raise UnreadableInput(
                "undecodable_image", f"not an image of a known format ({', '.join(FORMATS)})"
            ) from error
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


_AVERAGED_AS = {"1": "L", "P": "RGBA", "PA": "RGBA"}


def _flatten(picture: Image.Image) -> NDArray[np.uint8]:
    """Upright RGB, transparency laid on white, or on black where what is drawn is light."""
    picture = ImageOps.exif_transpose(picture)
    if max(picture.size) > MAX_WORKING_SIDE:
        # Numbers of colours have no mean, and Pillow has none for 16 bits.
        mode = "I" if picture.mode.startswith("I;16") else _AVERAGED_AS.get(picture.mode, picture.mode)
        picture = picture.convert(mode).reduce(-(-max(picture.size) // MAX_WORKING_SIDE))
    if picture.has_transparency_data:
        rgba = np.asarray(picture.convert("RGBA"), dtype=np.float32)
        alpha = rgba[..., 3:] / 255.0
        weight = float(alpha.sum())
        light = weight > 0 and float((rgba[..., :3].mean(-1, keepdims=True) * alpha).sum()) / weight > 127.5
        # A picture that is opaque nearly everywhere brings its own background.
        background = 0.0 if light and float(alpha.mean()) < 0.9 else 255.0
        return np.rint(rgba[..., :3] * alpha + background * (1 - alpha)).astype(np.uint8)
    if picture.mode.startswith(("I", "F")):
        deep = np.asarray(picture, dtype=np.float32)
        low, high = float(deep.min()), float(deep.max())
        return np.rint((deep - low) * (255.0 / max(high - low, 1e-9))).astype(np.uint8)
    return np.asarray(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))
