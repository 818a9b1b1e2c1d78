"""Omniglot's original bitmaps as PNG files, by the rows that the episode sampler draws."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from meta_models.datasets import ClassPool, Omniglot, load_omniglot
from meta_models.episodes import EpisodeRows
from meta_models.recipe import load_recipe
from meta_models.sources import split


@dataclass(frozen=True)
class TestClasses:
    """The test classes of a published meta-model, as its recipe splits them."""

    __test__ = False

    omniglot: Omniglot
    pool: ClassPool

    def png(self, row: int) -> bytes:
        """The 105×105 original behind a row of the pool, turned where the row is."""
        return _png(self.omniglot, row)

    def support(self, episode: EpisodeRows) -> list[tuple[str, bytes]]:
        """(label, file) pairs; labels are the positions of the classes."""
        return [(str(c), self.png(int(row))) for c, rows in enumerate(episode.support) for row in rows]

    def queries(self, episode: EpisodeRows) -> list[bytes]:
        return [self.png(int(row)) for row in episode.query.ravel()]


def test_classes(name: str, data: Path, *, turned: bool) -> TestClasses:
    """Test classes of recipe `name`; with `turned`, each in four rotations."""
    omniglot = load_omniglot(data)
    upright, *rotated = split(omniglot, load_recipe(name)).test
    return TestClasses(omniglot, rotated[0].pool if turned else upright.pool)


test_classes.__test__ = False  # type: ignore[attr-defined]


@lru_cache(maxsize=60_000)
def _png_of(page: bytes, turns: int) -> bytes:
    strokes = np.frombuffer(page, dtype=bool).reshape(105, 105)
    file = io.BytesIO()
    Image.fromarray(np.where(np.rot90(strokes, turns), 0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _png(omniglot: Omniglot, row: int) -> bytes:
    pages = omniglot.strokes.reshape(-1, 105, 105)
    return _png_of(pages[row % len(pages)].tobytes(), row // len(pages))
