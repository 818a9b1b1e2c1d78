"""Where sounds come from: a folder's own archive, or the authors'; nobody and nothing in two parts."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from meta_models import sound_sources
from meta_models.benchmark import SETTINGS
from meta_models.datasets import DataError
from meta_models.inputs import SoundSpec
from meta_models.recipe import load_recipe
from meta_models.sound_sources import (
    DEVELOPMENT_KEYWORDS,
    DEVELOPMENT_SPEAKERS,
    TEST_KEYWORDS,
    TEST_SOUNDS,
    TEST_SPEAKERS,
    load_environment,
    load_keywords,
    sound_splits,
)
from tests.local_server import listening
from tests.sounds import encoded, melody, silence

SPEC = SoundSpec()
WORDS = ("zero", "up", *DEVELOPMENT_KEYWORDS[:2], *TEST_KEYWORDS[:2])
SPEAKERS = ("00000001", DEVELOPMENT_SPEAKERS[0], TEST_SPEAKERS[0])


def packed(files: Mapping[str, bytes], comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = comment
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def keyword_files(pattern: str) -> dict[str, bytes]:
    """Each word by each speaker, takes 2, 3 and 7; of one speaker a little faster than of another."""
    return {
        pattern.format(word=word, speaker=speaker, take=take): encoded(melody(w, 10 * s + take), format="FLAC")
        for w, word in enumerate(WORDS)
        for s, speaker in enumerate(SPEAKERS)
        for take in (2, 3, 7)
    }


LOCAL = packed(keyword_files("{word}/{speaker}_{take:02d}.flac"))
SOUNDS = packed(
    {
        f"{name}/{i}.ogg": encoded(melody(50 + k, i), format="OGG")
        for k, name in enumerate(("rooster", *TEST_SOUNDS))
        for i in range(3)
    }
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds both archives, and a source that expects them."""
    for name, content in (("KEYWORDS", LOCAL), ("ENVIRONMENT", SOUNDS)):
        archive = getattr(sound_sources, name)
        (tmp_path / archive.file).write_bytes(content)
        expected = replace(archive, sha256=hashlib.sha256(content).hexdigest(), url="http://127.0.0.1:9/none.zip")
        monkeypatch.setattr(sound_sources, name, expected)
    return tmp_path


def test_nobody_and_nothing_is_in_two_parts(data: Path) -> None:
    splits = sound_splits(data, load_recipe("sound-protonet"))
    words = load_keywords(data, SPEC)
    heard = {name: set[str]() for name in ("learned from", "chosen by", "reported")}
    said = {name: set[str]() for name in heard}
    pools = dict(zip(heard, (splits.train[0], splits.development[0], splits.test[0].pool), strict=True))
    for part, pool in pools.items():
        said[part] = set(pool.class_names)
        for name, rows in zip(pool.class_names, pool.class_examples, strict=True):
            if name in WORDS:
                heard[part] |= {str(words.speakers[row]) for row in rows}
                assert {str(words.labels[row]) for row in rows} == {name}
    assert heard == {"learned from": {SPEAKERS[0]}, "chosen by": {SPEAKERS[1]}, "reported": {SPEAKERS[2]}}
    assert said == {
        "learned from": {"zero", "up", "rooster"},
        "chosen by": set(DEVELOPMENT_KEYWORDS[:2]),
        "reported": set(TEST_KEYWORDS[:2]),
    }
    assert splits.test[2].pool.class_names == tuple(sorted(TEST_SOUNDS))
    assert all(len(rows) == 2 for rows in splits.test[0].pool.class_examples)
    assert all(len(rows) == 1 for rows in splits.test[1].pool.class_examples)


def test_the_parts_themselves_are_disjoint() -> None:
    assert not set(DEVELOPMENT_KEYWORDS) & set(TEST_KEYWORDS)
    assert not set(DEVELOPMENT_SPEAKERS) & set(TEST_SPEAKERS)
    assert len(TEST_KEYWORDS) >= SETTINGS[0][0]


def test_both_pools_of_training_classes_share_their_inputs(data: Path) -> None:
    pool = sound_splits(data, load_recipe("sound-protonet")).train[0]
    rooster = pool.class_examples[pool.class_names.index("rooster")]
    sounds = load_environment(data, SPEC)
    np.testing.assert_array_equal(pool.inputs[rooster], sounds.inputs[sounds.labels == "rooster"])
    assert pool.class_groups.tolist() == [0, 0, 1]


def test_the_authors_own_archives_are_read_alike(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloaded where the folder has none, with all ten takes, under their own names."""
    expected = load_keywords(data, SPEC), load_environment(data, SPEC)
    table = ["filename,fold,target,category,esc10,src_file,take"]
    clips: dict[str, bytes] = {}
    for k, name in enumerate(("rooster", *TEST_SOUNDS)):
        for i in range(3):
            category = {"baby_cry": "crying_baby", "fire_crackling": "crackling_fire"}.get(name, name)
            table.append(f"{k}-{i}.wav,1,0,{category},True,x,A")
            clips[f"ESC-50-master/audio/{k}-{i}.wav"] = encoded(melody(50 + k, i), format="OGG")
    table.append("other.wav,1,0,airplane,False,x,A")
    commit = b"0" * 40
    bodies = {
        "/words.zip": packed(keyword_files("a-b-c/dataset/{word}/{speaker}_NO_{take:02d}.flac"), commit),
        "/sounds.zip": packed({"ESC-50-master/meta/esc50.csv": "\n".join(table).encode(), **clips}),
    }
    with listening(lambda method, path, headers, body: (200, {}, bodies[path])) as port:
        url = f"http://127.0.0.1:{port}"
        md5 = hashlib.md5(bodies["/sounds.zip"], usedforsecurity=False).hexdigest()
        changes = {"KEYWORDS": {"url": f"{url}/words.zip", "comment": commit}}
        changes["ENVIRONMENT"] = {"url": f"{url}/sounds.zip", "md5": md5}
        for name, change in changes.items():
            monkeypatch.setattr(sound_sources, name, replace(getattr(sound_sources, name), **change))
        found = load_keywords(tmp_path / "new", SPEC), load_environment(tmp_path / "new", SPEC)
        for there, here in zip(expected, found, strict=True):
            for field in ("inputs", "labels", "speakers", "takes"):
                np.testing.assert_array_equal(getattr(there, field), getattr(here, field))
        monkeypatch.setattr(sound_sources, "KEYWORDS", replace(sound_sources.KEYWORDS, comment=b"1" * 40))
        with pytest.raises(DataError, match="of commit 000"):
            load_keywords(tmp_path / "other", SPEC)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (packed({"readme.txt": b"nothing"}), "holds no sounds"),
        (packed({"zero/00000001_02.flac": silence()}), r"zero/00000001_02\.flac: no sound found"),
    ],
)
def test_an_archive_of_something_else_is_named(
    data: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, words: str
) -> None:
    (data / sound_sources.KEYWORDS.file).write_bytes(content)
    expected = replace(sound_sources.KEYWORDS, sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(sound_sources, "KEYWORDS", expected)
    with pytest.raises(DataError, match=words):
        load_keywords(data, SPEC)


def test_a_damaged_archive_is_refused(data: Path) -> None:
    (data / sound_sources.KEYWORDS.file).write_bytes(LOCAL[:-1])
    with pytest.raises(DataError, match="damaged: its sha256"):
        load_keywords(data, SPEC)


def test_no_archive_and_no_network_says_what_to_do(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="by hand"):
        load_keywords(tmp_path / "empty", SPEC)


def test_a_recipe_of_pictures_is_refused(data: Path) -> None:
    with pytest.raises(ValueError, match="reads drawing"):
        sound_splits(data, load_recipe("omniglot-protonet"))
