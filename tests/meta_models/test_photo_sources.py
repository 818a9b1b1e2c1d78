"""CIFAR-FS from its authors' archive and from a folder of sheets: the same photographs, in three parts."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from meta_models import photo_sources
from meta_models.datasets import DataError
from meta_models.photo_sources import DOWNLOAD, SHEETS, SPLIT, photo_splits
from meta_models.recipe import Recipe, load_recipe
from meta_models.sources import load_splits

Photographs = dict[str, NDArray[np.uint8]]

PARTS = json.loads(SPLIT.read_text())
NAMES = sorted(name for part in SHEETS for name in PARTS[part])


@pytest.fixture(scope="module")
def photographs() -> Photographs:
    """Six tiles of each of the 100 classes."""
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8) for name in NAMES}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("photo-conv4")


def as_archive(photographs: Photographs, target: Path) -> Path:
    """As the authors pack them: a third of the records in `test.bin`."""
    records = [
        bytes([0, NAMES.index(name)]) + tile.transpose(2, 0, 1).tobytes()
        for name, tiles in photographs.items()
        for tile in tiles
    ]
    cut = 2 * len(records) // 3
    files = {
        "fine_label_names.txt": "\n".join(NAMES).encode(),
        "train.bin": b"".join(records[:cut]),
        "test.bin": b"".join(records[cut:]),
    }
    with tarfile.open(target, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-100-binary/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return target


def as_sheets(photographs: Photographs, folder: Path) -> dict[str, dict[str, str]]:
    """Three columns by two rows of tiles a class; the sha256 of each file, by part."""
    sums: dict[str, dict[str, str]] = {}
    for part, files in SHEETS.items():
        for number, file in enumerate(files):
            with zipfile.ZipFile(folder / file, "w") as archive:
                for name in PARTS[part][number :: len(files)]:
                    sheet = photographs[name].reshape(2, 3, 32, 32, 3).swapaxes(1, 2).reshape(64, 96, 3)
                    buffer = io.BytesIO()
                    Image.fromarray(sheet).save(buffer, "WEBP", lossless=True)
                    archive.writestr(f"{name}.webp", buffer.getvalue())
        sums[part] = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in files}
    return sums


@pytest.fixture
def from_authors(tmp_path: Path, photographs: Photographs, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = as_archive(photographs, tmp_path / DOWNLOAD)
    monkeypatch.setattr(photo_sources, "MD5", hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest())
    return tmp_path


def test_classes_come_in_the_parts_of_cifar_fs(from_authors: Path, photographs: Photographs, recipe: Recipe) -> None:
    splits = load_splits(from_authors, recipe)
    assert splits.n_classes == (64, 16, 20)
    pools = {"train": splits.train[0], "val": splits.development[0], "test": splits.test[0].pool}
    for part, pool in pools.items():
        assert sorted(pool.class_names) == sorted(PARTS[part])
        for name, rows in zip(pool.class_names, pool.class_examples, strict=True):
            assert np.array_equal(pool.inputs[rows].transpose(0, 2, 3, 1), photographs[name])


def test_a_folder_of_sheets_holds_the_same(
    from_authors: Path,
    tmp_path_factory: pytest.TempPathFactory,
    photographs: Photographs,
    recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path_factory.mktemp("sheets")
    monkeypatch.setattr(photo_sources, "SHEETS", as_sheets(photographs, folder))
    ours, theirs = photo_splits(folder, recipe), photo_splits(from_authors, recipe)
    assert ours.train[0].class_names == theirs.train[0].class_names
    assert np.array_equal(ours.train[0].inputs, theirs.train[0].inputs)
    assert np.array_equal(ours.test[0].pool.inputs, theirs.test[0].pool.inputs)


def test_a_sheet_of_other_photographs_is_refused(
    tmp_path: Path, photographs: Photographs, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_sources, "SHEETS", as_sheets(photographs, tmp_path))
    with zipfile.ZipFile(tmp_path / "cifarfs_val.zip", "a") as archive:
        archive.writestr("readme.txt", "changed")
    with pytest.raises(DataError, match=r"cifarfs_val\.zip is damaged: its sha256 is .* Delete it and try again"):
        photo_splits(tmp_path, recipe)


def test_a_damaged_archive_is_named(from_authors: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_sources, "MD5", "0" * 32)
    with pytest.raises(DataError, match=r"cifar-100-binary\.tar\.gz is damaged"):
        photo_splits(from_authors, recipe)


def test_drawings_cannot_be_read_from_photographs(from_authors: Path) -> None:
    recipe = load_recipe("photo-conv4").model_copy(update={"input": load_recipe("omniglot-protonet").input})
    with pytest.raises(ValueError, match="holds photographs"):
        photo_splits(from_authors, recipe)
