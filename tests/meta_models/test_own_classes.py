"""A folder of one's own pictures becomes classes, is cut in three, and every flaw is named."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from meta_models.datasets import DataError
from meta_models.inputs import Caps, DrawingSpec, VectorSpec
from meta_models.own_classes import MIN_CLASSES, MIN_EXAMPLES, left_out, load_classes, part_of
from meta_models.produce import produce
from meta_models.recipe import load_recipe
from meta_models.sources import check_folder, load_splits
from tests import texts
from tests.drawings import blank, png

RECIPE = load_recipe("own-drawings")


def test_every_picture_is_in_its_class(pictures: Path) -> None:
    pool = load_classes(pictures, DrawingSpec())
    assert pool.n_classes == MIN_CLASSES
    assert {len(rows) for rows in pool.class_examples} == {MIN_EXAMPLES, MIN_EXAMPLES + 1}
    assert pool.inputs.shape == (sum(len(rows) for rows in pool.class_examples), 1, 28, 28)


def test_the_parts_share_no_class(pictures: Path) -> None:
    splits = load_splits(pictures, RECIPE)
    parts = [set(p.class_names) for p in (splits.train[0], splits.development[0], splits.test[0].pool)]
    assert [len(p) for p in parts] == [18, 6, 6]
    assert len(set.union(*parts)) == MIN_CLASSES


def test_names_are_always_cut_alike() -> None:
    names = [f"kind {n}" for n in range(50)]
    shuffled = np.random.default_rng(0).permutation(50)
    assert np.array_equal(part_of(names)[shuffled], part_of([names[i] for i in shuffled]))


def test_what_cannot_be_used_is_named(pictures: Path, tmp_path: Path) -> None:
    for path in pictures.glob("kind*"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "scraps").mkdir()
    (tmp_path / "scraps" / "torn.png").write_bytes(png(99, 0)[:60])
    (tmp_path / "scraps" / "blank.png").write_bytes(blank())
    (tmp_path / "scraps" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError) as error:
        load_classes(tmp_path, DrawingSpec())
    unusable = ("scraps/torn.png", "scraps/gone.png: ", "scraps/blank.png: no drawing found")
    for part in (*unusable, "scraps: 0 usable examples, at least 6"):
        assert part in str(error.value)


def test_vectors_of_another_length_are_named(tmp_path: Path) -> None:
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        for example in range(MIN_EXAMPLES + 1):
            np.save(tmp_path / kind / f"{example}.npy", np.ones(12))
    np.save(tmp_path / "a" / "3.npy", np.ones(13))
    np.save(tmp_path / "b" / "0.npy", np.ones(11))
    with pytest.raises(DataError) as error:
        load_classes(tmp_path, VectorSpec(), 2)
    _, *told = str(error.value).split("\n  ")
    assert told == [f"{which} numbers, those before have 12" for which in ("a/3.npy: 13", "b/0.npy: 11")]


def test_too_few_classes_say_how_many_are_needed(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(DataError, match=f"has 1 classes, at least {MIN_CLASSES}"):
        load_classes(tmp_path, DrawingSpec())
    with pytest.raises(DataError, match="is not a folder"):
        load_classes(tmp_path / "none", DrawingSpec())


def test_what_is_not_read_is_counted(pictures: Path, tmp_path: Path) -> None:
    assert left_out(pictures) == ""
    (tmp_path / "all").mkdir()
    for path in pictures.glob("kind*"):
        (tmp_path / "all" / path.name).symlink_to(path)
    (tmp_path / "readme.txt").write_text("drawings")
    n_pictures = len(list(pictures.glob("kind*/*")))
    told = (
        rf"1 files beside .* \(such as readme\.txt\), {n_pictures} files in folders within a class \(such as all/kind"
    )
    with pytest.raises(DataError, match=f"has 1 classes, at least {MIN_CLASSES} are needed; not read: {told}"):
        load_classes(tmp_path, DrawingSpec())


def test_what_is_neither_file_nor_folder_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "0.png")
    (tmp_path / "a" / "1.png").symlink_to("nowhere.png")
    assert left_out(tmp_path).startswith("not read: 1 that are no files (such as a/0.png); a class is")


def test_names_that_are_not_utf_8_are_told(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).touch()
    assert r"1 files beside the folders of the classes (such as caf\udce9.txt)" in left_out(tmp_path)
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    with pytest.raises(DataError, match=r"the name of the class caf\\udce9 is not UTF-8; give its folder another"):
        load_classes(tmp_path, DrawingSpec(), 1)


@pytest.mark.parametrize("name", ["text-minilm", "omniglot-protonet", "photo-conv4"])
def test_a_data_set_is_not_put_among_classes_of_ones_own(pictures: Path, tmp_path: Path, name: str) -> None:
    recipe, before = load_recipe(name), sorted(pictures.iterdir())
    with pytest.raises(DataError, match=r"holds kind 0 and nothing of a data set, .* give --data another folder"):
        produce(recipe, pictures, tmp_path / "run", zoo=tmp_path / "zoo", device="cpu", say=lambda _: None)
    assert sorted(pictures.iterdir()) == before
    (tmp_path / "t.csv").write_text("text,label\n")
    with pytest.raises(DataError, match=r"t\.csv is a file"):
        check_folder(tmp_path / "t.csv", recipe)
    check_folder(tmp_path / "none", recipe)
    (tmp_path / "data" / "downloads").mkdir(parents=True)
    check_folder(tmp_path / "data", recipe)


def test_texts_come_from_a_csv(tmp_path: Path) -> None:
    spec = texts.spec(tmp_path)
    rows = [f"where is card {n},lost {n % 2}" for n in range(14)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *rows]))
    pool = load_classes(tmp_path / "t.csv", spec, 2, most=6)
    assert pool.class_names == ("lost 0", "lost 1")
    assert [len(members) for members in pool.class_examples] == [6, 6]
    expected = spec.with_name(spec.read("where is card 1", Caps()), "lost 1")
    assert np.array_equal(pool.inputs[pool.class_examples[1][0]], expected)
    with pytest.raises(DataError, match="a CSV is for texts, and image files are read here; give a folder"):
        load_classes(tmp_path / "t.csv", DrawingSpec(), 2)
    (tmp_path / "s.csv").write_text("\n".join(["text, label", *(row.replace(",", ", ") + " " for row in rows)]))
    assert load_classes(tmp_path / "s.csv", spec, 2, most=6).class_names == pool.class_names
    (tmp_path / "l.csv").write_text("text,label\ncafé,a\n", encoding="latin-1")
    with pytest.raises(DataError, match=r"l\.csv must be a CSV in UTF-8"):
        load_classes(tmp_path / "l.csv", spec, 2)
    (tmp_path / "u.csv").write_text("text,class\na,b\n")
    with pytest.raises(DataError, match="must have columns text and label, found text, class"):
        load_classes(tmp_path / "u.csv", spec, 2)
    (tmp_path / "e.csv").write_text("\n".join(["text,label", *rows, '" ",lost 1']))
    with pytest.raises(DataError, match="row 16: the text has no characters"):
        load_classes(tmp_path / "e.csv", spec, 2)
    tabs = "\r\n".join(["text\tlabel", *(row.replace(",", "\t") for row in rows)])
    (tmp_path / "x.csv").write_text(tabs, encoding="utf-16")
    assert np.array_equal(load_classes(tmp_path / "x.csv", spec, 2, most=6).inputs, pool.inputs)
