"""Bytes of a client to arrays a meta-model reads; every refusal names its example."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from adapter.config import Settings
from adapter.errors import ErrorItem, Unprocessable
from meta_models.preprocess import BlankImageError, InputSpec, preprocess

_URL_SAFE = str.maketrans("-_", "+/")

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


@dataclass(frozen=True)
class Payload:
    """One input as it arrived.

    Attributes:
        content: encoded bytes, or base64 text of them.
        pointer: where in the request it stands.
        label: its label, in a support set.
    """

    content: bytes | str
    pointer: str
    label: str | None = None


class UndecodableError(ValueError):
    """One input cannot be used; `code` says how, `status` is what it would be as an answer of its own."""

    def __init__(self, code: str, detail: str, status: int = 422) -> None:
        super().__init__(detail)
        self.code, self.status = code, status


class Decoder:
    """Decodes and pre-processes images within the server's limits."""

    def __init__(self, settings: Settings) -> None:
        self._max_bytes = settings.max_image_bytes
        self._max_pixels = settings.max_image_pixels

    def one(self, content: bytes | str, spec: InputSpec) -> NDArray[np.uint8]:
        """One encoded image to (channels, height, width) uint8.

        Raises:
            UndecodableError: what is wrong with it.
        """
        data = _from_base64(content) if isinstance(content, str) else content
        if not data:
            raise UndecodableError("empty_image", "the image has no bytes")
        if len(data) > self._max_bytes:
            raise _too_large(f"the image has {len(data)} bytes, at most {self._max_bytes}")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                if picture.width * picture.height > self._max_pixels:
                    size = f"{picture.width}x{picture.height}"
                    raise _too_large(f"the image is {size}, at most {self._max_pixels} pixels")
                picture.load()
                return preprocess(picture, spec)
        except Image.DecompressionBombError as error:  # raised before the size can be read
            raise _too_large(f"the image has more than {self._max_pixels} pixels") from error
        except BlankImageError as error:
            raise UndecodableError("blank_image", str(error)) from error
        except UnidentifiedImageError as error:
            raise UndecodableError(
                "undecodable_image", f"not an image of a known format ({', '.join(FORMATS)})"
            ) from error
        except UndecodableError:
            raise
        except Exception as error:
            raise UndecodableError("undecodable_image", f"the image is damaged: {error}") from error

    def support(self, payloads: Sequence[Payload], spec: InputSpec) -> NDArray[np.uint8]:
        """All examples of a support set, (n, *shape).

        Raises:
            Unprocessable: lists every example that cannot be used.
        """
        arrays: list[NDArray[np.uint8]] = []
        errors: list[ErrorItem] = []
        for number, payload in enumerate(payloads):
            try:
                arrays.append(self.one(payload.content, spec))
            except UndecodableError as error:
                detail = f"example {number} (label {payload.label!r}): {error}"
                errors.append({"pointer": payload.pointer, "code": error.code, "detail": detail})
        if errors:
            first = errors[0]
            raise Unprocessable(
                f"{len(errors)} of {len(payloads)} examples cannot be used; the first: {first.get('detail')}",
                code=first.get("code", "undecodable_image"),
                errors=errors,
            )
        return np.stack(arrays)


def _too_large(detail: str) -> UndecodableError:
    return UndecodableError("image_too_large", detail, 413)


def _from_base64(text: str) -> bytes:
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    # As tools write it: broken into lines, URL-safe, without padding.
    text = "".join(text.split()).translate(_URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UndecodableError("undecodable_image", f"not base64: {error}") from error
