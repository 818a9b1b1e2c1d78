"""Photographs with names: CIFAR-100 (Krizhevsky 2009), its classes split as CIFAR-FS (Bertinetto et al. 2019).

64 classes to learn from, 16 to choose by, 20 to report, 600 photographs of 32×32 each. A local folder may hold one
sheet of tiles a class in zip files; else the authors' own archive is downloaded.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meta_models.datasets import ClassPool, DataError, fetch, verify
from meta_models.inputs import PhotoSpec
from meta_models.recipe import Recipe
from meta_models.splits import Protocol, Splits

SPLIT = Path(__file__).parent / "cifarfs_split.json"

SHEETS = {
    "train": {
        "cifarfs_train_a.zip": "b0995c1376e53858b893f32064cb003df2ea2d790620e4f7a044197521a71b52",
        "cifarfs_train_b.zip": "ac4ca96ff4d778eb714f314ff513bdc319a44fea8d98c985af98461a7bf037b3",
    },
    "val": {"cifarfs_val.zip": "ba46e7718358f167ca1753b327b5bc757a76efba0f836f8f42a625173cb73ba2"},
    "test": {"cifarfs_test.zip": "2bea662ddc4d77105175a9b520969824cd708c5a27482ce4d32ea5a374ad06f0"},
}
"""What a data folder may hold, with its sha256: a lossless 20×30 sheet of tiles a class."""

DOWNLOAD = "cifar-100-binary.tar.gz"
URL = f"https://www.cs.toronto.edu/~kriz/{DOWNLOAD}"
MD5 = "03b5dce01913d631647c71ecec9e9cb8"  # as published there

SIDE = 32


def photo_splits(data: Path, recipe: Recipe) -> Splits:
    """CIFAR-FS in its three parts.

    Raises:
        DataError: the data is absent or damaged.
    """
    spec = recipe.input
    if not isinstance(spec, PhotoSpec):
        raise ValueError(f"CIFAR-FS holds photographs, the recipe {recipe.name} reads {spec.kind}")
    split = json.loads(SPLIT.read_text())
    sheets = {data / name: sha256 for names in SHEETS.values() for name, sha256 in names.items()}
    if all(path.exists() for path in sheets):
        for path, sha256 in sheets.items():
            verify(path, sha256)
        photographs = {name: tiles for path in sheets for name, tiles in from_sheets(path)}
    else:
        data.mkdir(parents=True, exist_ok=True)
        fetch(URL, data / DOWNLOAD, MD5)
        photographs = dict(_from_archive(data / DOWNLOAD))
    train, development, test = (photo_pool({name: photographs[name] for name in split[part]}, spec) for part in SHEETS)
    return Splits((train,), (development,), (Protocol("CIFAR-FS", test, 0.0),))


def photo_pool(photographs: dict[str, NDArray[np.uint8]], spec: PhotoSpec) -> ClassPool:
    """Classes of tiles (n, 32, 32, 3), all in one group."""
    inputs = np.stack([spec.fit(tile) for tiles in photographs.values() for tile in tiles])
    labels = np.repeat(list(photographs), [len(tiles) for tiles in photographs.values()])
    return ClassPool.by_label(inputs, labels, np.arange(len(inputs)))


def from_sheets(path: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Class names with (600, 32, 32, 3) tiles."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.namelist():
            if entry.endswith(".webp"):
                sheet = np.asarray(Image.open(io.BytesIO(archive.read(entry)), formats=["WEBP"]).convert("RGB"))
                rows, columns = sheet.shape[0] // SIDE, sheet.shape[1] // SIDE
                tiles = sheet.reshape(rows, SIDE, columns, SIDE, 3).swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3)
                yield entry.removesuffix(".webp"), tiles


def _from_archive(path: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """The same from the authors' binary files: records of two labels and three planes."""
    with tarfile.open(path) as archive:

        def read(name: str) -> bytes:
            member = archive.extractfile(f"cifar-100-binary/{name}")
            if member is None:
                raise DataError(f"{path} holds no {name}")
            return member.read()

        names = read("fine_label_names.txt").decode().split()
        records = np.frombuffer(read("train.bin") + read("test.bin"), np.uint8).reshape(-1, 2 + 3 * SIDE * SIDE)
    for number, name in enumerate(names):
        planes = records[records[:, 1] == number, 2:].reshape(-1, 3, SIDE, SIDE)
        yield name, np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
