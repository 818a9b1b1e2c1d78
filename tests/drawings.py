"""Small drawings for tests: a class is a random polyline, an example the same line with a shaky hand."""

from __future__ import annotations

import base64
import io
import zlib

import numpy as np
from PIL import Image, ImageDraw

PAPER, INK = 255, 0


def sketch(kind: int, example: int, size: int = 105, *, paper: int = PAPER, ink: int = INK) -> Image.Image:
    """Example `example` of class `kind`: five joined strokes, jittered."""
    line = np.random.default_rng((kind, 1)).uniform(0.15, 0.85, (6, 2))
    line = line + np.random.default_rng((kind, 2, example)).normal(0, 0.02, line.shape)
    image = Image.new("L", (size, size), paper)
    points = [(float(x), float(y)) for x, y in line * size]
    ImageDraw.Draw(image).line(points, fill=ink, width=max(2, size // 35), joint="curve")
    return image


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def turned(shown: Image.Image, orientation: int) -> bytes:
    """A JPEG stored turned or mirrored, with the EXIF tag that says how to show it."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = shown.transpose(undo[orientation]) if orientation in undo else shown
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, "JPEG", quality=90, exif=exif)


def png(kind: int, example: int, size: int = 105) -> bytes:
    return encoded(sketch(kind, example, size))


def blank() -> bytes:
    """Paper without ink."""
    return encoded(Image.new("L", (60, 60), PAPER))


def bomb(side: int = 50_000) -> bytes:
    """A few bytes of PNG that would be gigapixels."""
    data = bytearray(encoded(Image.new("1", (8, 8), 1)))
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def support_json(n_way: int, n_shot: int, *, first: int = 0) -> list[dict[str, object]]:
    """`support` of a request: classes "class 0" … with `n_shot` sketches each."""
    return [
        {"label": f"class {kind}", "input": {"image": b64(png(first + kind, example))}}
        for kind in range(n_way)
        for example in range(n_shot)
    ]


def inputs_json(kinds: list[int], example: int = 100) -> list[dict[str, object]]:
    """`inputs` of a request: one unseen sketch of each kind."""
    return [{"id": f"q{i}", "image": b64(png(kind, example))} for i, kind in enumerate(kinds)]
