"""Labelled classes to draw episodes from: download, verify, cache, split.

Knows numpy and Pillow only. Nothing here is committed data: Omniglot comes from its authors' repository
(checksums below) or from a local folder that already holds it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meta_models.inputs.drawing import DrawingSpec, drawing

OMNIGLOT_CACHE = "omniglot105_bits.npz"
OMNIGLOT_URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
OMNIGLOT_MD5 = {
    "images_background.zip": "68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation.zip": "6b91aef0f799c5bb55b94e3f2daec811",
}
"""As published with torchvision.datasets.Omniglot; the authors give no checksum of their own."""

VINYALS_SPLIT = Path(__file__).parent / "vinyals_split.json"
"""Characters of Vinyals et al. 2016, arXiv:1606.04080, as listed by Snell et al. 2017 (MIT)."""


class DataError(RuntimeError):
    """A data set is absent, damaged or not what its checksum says."""


@dataclass(frozen=True)
class ClassPool:
    """Classes with their examples, pre-processed.

    Attributes:
        inputs: (n_examples, *shape), uint8 pictures, float32 vectors or int16 sounds.
        class_examples: per class, the rows of `inputs` that belong to it.
        class_names: one per class.
        class_groups: (n_classes,) the class's alphabet or superclass.
    """

    inputs: NDArray[Any]
    class_examples: tuple[NDArray[np.int64], ...]
    class_names: tuple[str, ...]
    class_groups: NDArray[np.int64]

    @classmethod
    def by_label(cls, inputs: NDArray[Any], labels: NDArray[Any], rows: NDArray[np.int64]) -> ClassPool:
        """The `rows` of `inputs`, a class for each of their labels, all in one group."""
        names = np.unique(labels[rows])
        members = tuple(rows[labels[rows] == name] for name in names)
        return cls(inputs, members, tuple(map(str, names)), np.zeros(len(names), np.int64))

    @property
    def n_classes(self) -> int:
        return len(self.class_examples)

    def subset(self, keep: NDArray[np.bool_]) -> ClassPool:
        """The classes where `keep` (n_classes,) is true; examples are shared, not copied."""
        chosen = np.flatnonzero(keep)
        return ClassPool(
            self.inputs,
            tuple(self.class_examples[i] for i in chosen),
            tuple(self.class_names[i] for i in chosen),
            self.class_groups[chosen],
        )

    def joined(self, other: ClassPool) -> ClassPool:
        """The classes of both, which are cut from the same inputs.

        Raises:
            ValueError: they are not.
        """
        if self.inputs is not other.inputs:
            raise ValueError("only pools that are cut from the same inputs can be joined")
        return ClassPool(
            self.inputs,
            self.class_examples + other.class_examples,
            self.class_names + other.class_names,
            np.concatenate([self.class_groups, other.class_groups]),
        )

    def with_quarter_turns(self) -> ClassPool:
        """Four times the classes: each turned by 0, 90, 180 and 270 degrees (Santoro et al. 2016)."""
        turned = [np.rot90(self.inputs, k, axes=(2, 3)) for k in range(4)]
        shift = len(self.inputs)
        n_groups = int(self.class_groups.max()) + 1
        return ClassPool(
            np.concatenate(turned),
            tuple(rows + k * shift for k in range(4) for rows in self.class_examples),
            tuple(f"{name}@{90 * k}" for k in range(4) for name in self.class_names),
            np.concatenate([self.class_groups + k * n_groups for k in range(4)]),
        )


@dataclass(frozen=True)
class Omniglot:
    """The 1,623 characters with what the protocols need to split them.

    Attributes:
        strokes: (1623, 20, 105, 105) bool, true where there is ink.
        alphabet: (1623,) index into `alphabet_names`.
        is_background: (1623,) the authors' background set.
        vinyals_split: (1623,) 0 train, 1 validation, 2 test.
    """

    strokes: NDArray[np.bool_]
    alphabet: NDArray[np.int64]
    alphabet_names: tuple[str, ...]
    character: NDArray[np.int64]
    is_background: NDArray[np.bool_]
    vinyals_split: NDArray[np.int64]

    def pool(self, spec: DrawingSpec) -> ClassPool:
        """All characters, pre-processed like any user's picture; alphabets are the groups."""
        n_classes, n_drawers = self.strokes.shape[:2]
        pages = (~self.strokes.reshape(-1, 105, 105)).astype(np.uint8) * 255
        inputs = np.stack([drawing(page, spec) for page in pages])
        rows = np.arange(n_classes * n_drawers).reshape(n_classes, n_drawers)
        names = tuple(f"{self.alphabet_names[a]}/{c:02d}" for a, c in zip(self.alphabet, self.character, strict=True))
        return ClassPool(inputs, tuple(rows), names, self.alphabet)


def load_omniglot(folder: Path, on_bytes: Callable[[int, int], None] | None = None) -> Omniglot:
    """Read Omniglot from `folder`, downloading and verifying what it lacks.

    Args:
        folder: holds the packed cache, or the authors' two zip files, or receives them.
        on_bytes: called with (bytes so far, bytes in all) while downloading.

    Raises:
        DataError: a file cannot be fetched or does not match its checksum.
    """
    cache = folder / OMNIGLOT_CACHE
    if not cache.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name, md5 in OMNIGLOT_MD5.items():
            fetch(f"{OMNIGLOT_URL}/{name}", folder / name, md5, on_bytes)
        _pack_omniglot([folder / name for name in OMNIGLOT_MD5], cache)
    with np.load(cache, allow_pickle=False) as packed:
        return Omniglot(
            strokes=np.unpackbits(packed["bits"], axis=-1)[..., :105].astype(bool),
            alphabet=packed["alphabet"].astype(np.int64),
            alphabet_names=tuple(str(name) for name in packed["alphabet_names"]),
            character=packed["character"].astype(np.int64),
            is_background=packed["is_background"],
            vinyals_split=packed["vinyals_split"].astype(np.int64),
        )


def fetch(url: str, target: Path, checksum: str | None, on_bytes: Callable[[int, int], None] | None = None) -> None:
    """Download `url` to `target` unless a file with that checksum is there already; None where none was published.

    Raises:
        DataError: the server does not answer or the bytes are not the expected ones.
    """
    if target.exists():
        verify(target, checksum)
        return
    part = target.with_suffix(target.suffix + ".part")
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=60) as answer, part.open("wb") as file:
            answer.raise_for_status()
            total, done = int(answer.headers.get("content-length", 0)), 0
            for chunk in answer.iter_bytes():
                done += file.write(chunk)
                if on_bytes:
                    on_bytes(done, total)
    except httpx.HTTPError as error:
        part.unlink(missing_ok=True)
        raise DataError(f"cannot download {url}: {error}. Put {target.name} into {target.parent} by hand.") from error
    verify(part, checksum)
    part.rename(target)


def verify(path: Path, checksum: str | None) -> None:
    """Compare a file with its md5 or sha256, told apart by length, unless that is None.

    Raises:
        DataError: it is another file.
    """
    if checksum is None:
        return
    kind = "md5" if len(checksum) == 32 else "sha256"
    found = hashlib.new(kind, path.read_bytes(), usedforsecurity=False).hexdigest()
    if found != checksum:
        raise DataError(f"{path} is damaged: its {kind} is {found}, expected {checksum}. Delete it and try again.")


def _pack_omniglot(archives: list[Path], target: Path) -> None:
    """Official zips to one packed file; row i is the official character code i + 1."""
    bits: dict[int, list[NDArray[np.uint8] | None]] = {}
    about: dict[int, tuple[str, int, bool]] = {}
    for archive in archives:
        with zipfile.ZipFile(archive) as zipped:
            for entry in zipped.namelist():
                if not entry.endswith(".png"):
                    continue
                _, alphabet, folder, file = entry.split("/")
                code, drawer = (int(part) for part in file.removesuffix(".png").split("_"))
                image = Image.open(io.BytesIO(zipped.read(entry)), formats=["PNG"]).convert("L")
                rows = bits.setdefault(code, [None] * 20)
                rows[drawer - 1] = np.packbits(np.asarray(image) < 128, axis=-1)
                about[code] = (alphabet, int(folder.removeprefix("character")), "background" in archive.name)
    codes = sorted(bits)
    names = sorted({about[code][0] for code in codes})
    split = json.loads(VINYALS_SPLIT.read_text())
    vinyals = np.zeros(len(codes), np.int8)
    for number, part in ((1, "val"), (2, "test")):
        vinyals[[code - 1 for code in split[part] if code <= len(codes)]] = number
    np.savez_compressed(
        target,
        bits=np.stack([np.stack([b for b in bits[code] if b is not None]) for code in codes]),
        alphabet=np.array([names.index(about[code][0]) for code in codes], np.int16),
        alphabet_names=np.array(names),
        character=np.array([about[code][1] for code in codes], np.int16),
        is_background=np.array([about[code][2] for code in codes]),
        vinyals_split=vinyals,
    )
