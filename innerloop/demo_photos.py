"""Few-shot on patches of ten photographs that scikit-image ships, through HTTP, beside mean colours.

A class is a photograph: stones, fur, stars, tissue … Support set and queries are cut out of different halves of it, at
sizes of their own, so no pixel is in both. It is a demonstration on textures, not on things: what is published learned
from small pictures of things, and colour alone goes a long way here, which the other column says.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from innerloop.client import Client
from innerloop.wording import with_interval

SHOTS = (1, 5, 20)
N_QUERY = 10

PHOTOGRAPHS = {
    "bricks": "brick",
    "cat": "cat",
    "coffee": "coffee",
    "coins": "coins",
    "grass": "grass",
    "gravel": "gravel",
    "moon": "moon",
    "retina": "retina",
    "stars": "hubble_deep_field",
    "tissue": "immunohistochemistry",
}
"""What each shows, and the function of `skimage.data` that loads it."""

_SIDES = (48, 128)
"""Pixels of a patch, least and most."""
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
"""They take turns: none of them matters."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Cell:
    """Accuracy with `n_shot` patches a class, in percent, a value for each support set.

    Attributes:
        ours: of the service.
        colours: of the nearest class mean of the mean colour, on the same patches.
    """

    n_shot: int
    ours: NDArray[np.float64]
    colours: NDArray[np.float64]

    def worded(self) -> tuple[str, str]:
        """Mean and half the width of its 95% confidence interval, of each."""
        return with_interval(self.ours), with_interval(self.colours)


def photographs() -> dict[str, Pixels]:
    """By name, (height, width, 3)."""
    from skimage import data

    loaded: dict[str, Any] = {name: getattr(data, function)() for name, function in PHOTOGRAPHS.items()}
    return {name: np.asarray(Image.fromarray(pixels).convert("RGB")) for name, pixels in loaded.items()}


def play(client: Client, shown: dict[str, Pixels], n_shot: int, rounds: int) -> Cell:
    """Adapt to `rounds` support sets and ask about patches of the other half of each photograph."""
    scores: list[tuple[float, float]] = []
    for number in range(rounds):
        rng = np.random.default_rng((number, n_shot))
        support = [(name, patch(pixels, rng, half=0)) for name, pixels in shown.items() for _ in range(n_shot)]
        query = [(name, patch(pixels, rng, half=1)) for name, pixels in shown.items() for _ in range(N_QUERY)]
        model = client.adapt([(name, saved(p, rng)) for name, p in support], meta_model="photo", ttl_seconds=60)
        results = client.predict(model["id"], [saved(p, rng) for _, p in query])
        client.delete(model["id"])
        right = [r["scores"][0]["label"] == name for r, (name, _) in zip(results, query, strict=True)]
        scores.append((100 * float(np.mean(right)), 100 * by_colour(support, query)))
    found = np.array(scores)
    return Cell(n_shot, found[:, 0], found[:, 1])


def patch(pixels: Pixels, rng: np.random.Generator, *, half: int) -> Pixels:
    """A random square of the left (0) or the right (1) half."""
    height, width = pixels.shape[0], pixels.shape[1] // 2
    side = int(rng.integers(_SIDES[0], _SIDES[1] + 1))
    top, left = int(rng.integers(height - side + 1)), half * width + int(rng.integers(width - side + 1))
    return pixels[top : top + side, left : left + side]


def saved(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """As a file of a random format."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, _FORMATS[rng.integers(len(_FORMATS))])
    return file.getvalue()


def by_colour(support: list[tuple[str, Pixels]], query: list[tuple[str, Pixels]]) -> float:
    """Share of queries whose mean colour is nearest to that of their own class."""
    names = np.array([name for name, _ in support])
    classes = np.unique(names)
    seen, asked = (np.array([p.mean((0, 1)) for _, p in patches]) for patches in (support, query))
    means = np.stack([seen[names == name].mean(0) for name in classes])
    nearest = np.linalg.norm(asked[:, None] - means, axis=2).argmin(1)
    return float(np.mean(classes[nearest] == [name for name, _ in query]))
