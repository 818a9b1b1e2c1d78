"""Small photographs for tests: a class is a scene of coloured blobs, an example the same scene from another place, in
another light."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from tests.drawings import b64, encoded, sketch

INKS = ("red", "green", "blue")


def scene(kind: int, example: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """Example `example` of class `kind`, (width, height) pixels."""
    fixed, hand = np.random.default_rng((kind, 1)), np.random.default_rng((kind, 2, example))
    places, widths = fixed.uniform(0.15, 0.85, (7, 2)), fixed.uniform(0.06, 0.2, 7)
    colours, ground = fixed.uniform(0, 255, (7, 3)), fixed.uniform(30, 225, (2, 3))
    places = places + hand.normal(0, 0.02, places.shape)
    width, height = size
    x, y = np.linspace(0, 1, width), np.linspace(0, 1, height)[:, None]
    light = np.clip(y + hand.normal(0, 0.05), 0, 1)[..., None]
    pixels = np.repeat(ground[0] * (1 - light) + ground[1] * light, width, 1)
    for (left, top), spread, colour in zip(places, widths, colours, strict=True):
        across, down = (np.exp(-(distance**2) / (2 * spread**2)) for distance in (x - left, y - top))
        pixels += (down * across)[..., None] * (colour - pixels)
    pixels *= hand.uniform(0.9, 1.1)
    pixels += hand.normal(0, 4, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))


def jpeg(kind: int, example: int, size: tuple[int, int] = (96, 72)) -> bytes:
    return encoded(scene(kind, example, size), "JPEG", quality=90)


def taken(n_way: int, n_shot: int, *, first: int = 0) -> list[tuple[str, bytes]]:
    """(label, file) of `n_shot` photographs of each of the kinds `first` …; class i is labelled "class i"."""
    return [(f"class {way}", jpeg(first + way, shot)) for way in range(n_way) for shot in range(n_shot)]


def support_json(n_way: int, n_shot: int, *, first: int = 0) -> list[dict[str, object]]:
    """`support` of a request."""
    return [{"label": label, "input": {"image": b64(data)}} for label, data in taken(n_way, n_shot, first=first)]


def inked(ink: str, example: int) -> bytes:
    """The same drawing in a colour of its own: one class to whoever sees strokes, classes to whoever sees colours."""
    return encoded(ImageOps.colorize(sketch(1, example), ink, "white"))
