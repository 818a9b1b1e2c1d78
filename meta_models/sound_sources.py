"""Sounds with names: spoken keywords (Arabic Speech Commands) and environmental sounds (ESC-10).

Both are small. Keywords are split by class **and** by speaker: what is reported was said by people, and is made of
words, that nothing before has heard. Files come from the authors' repositories, or from a local folder that has them.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meta_models.datasets import ClassPool, DataError, fetch, verify
from meta_models.inputs import Caps, SoundSpec, UnreadableInput
from meta_models.recipe import Recipe
from meta_models.splits import Protocol, Splits


@dataclass(frozen=True)
class Archive:
    """A zip of sounds.

    Attributes:
        file: what a data folder may hold already, with its `sha256`.
        url: where the authors' own is, kept as `download`.
        md5: of that one, as published.
        comment: of that one; GitHub writes the commit that it was made of, whatever else changes in the file.
    """

    file: str
    sha256: str
    url: str
    download: str
    md5: str | None = None
    comment: bytes | None = None


KEYWORDS = Archive(
    "arabic_speech_commands_8k.zip",
    "fce523867a2451eddcd33df156ea217e846a19ba6370aaf4195e8c3227c43244",
    "https://github.com/abdulkaderghandoura/arabic-speech-commands-dataset/archive/"
    "63c055f0d1a993cf9456a04a16ce0d9d4e7ba140.zip",
    "arabic-speech-commands-dataset.zip",
    comment=b"63c055f0d1a993cf9456a04a16ce0d9d4e7ba140",
)
ENVIRONMENT = Archive(
    "esc10_16k_ogg.zip",
    "91a7d514a96bd75d68ae06fc03e457dcdbd901813e46221972bd4d63df9d28fc",
    "https://github.com/karoldvl/ESC-50/archive/master.zip",
    "ESC-50-master.zip",
    md5="7771e4b9d86d0945acce719c7a59305a",  # as published with soundata and HEAR
)

TAKES = (2, 7)
"""Of the ten that each speaker made of each keyword."""

# The authors' parts. Keywords and sounds are cut by the sha256 of their names.
DEVELOPMENT_SPEAKERS = ("00000002", "00000007", "00000008", "00000012", "00000021", "00000025")
TEST_SPEAKERS = ("00000003", "00000004", "00000010", "00000014", "00000026", "00000028")
DEVELOPMENT_KEYWORDS = ("backward", "move", "previous", "record", "seven", "six", "stop", "two")
TEST_KEYWORDS = ("cancel", "close", "five", "four", "left", "ok", "open", "right", "rotate", "send")
TEST_SOUNDS = ("baby_cry", "chainsaw", "fire_crackling", "rain", "sea_waves")

_ESC50_NAMES = {"dog": "dog_bark", "crying_baby": "baby_cry", "sneezing": "person_sneeze"} | {
    "crackling_fire": "fire_crackling"
}
"""Where ESC-50 calls a class of ESC-10 otherwise."""

_KEYWORD_PATH = re.compile(r"(?:^|/)([^/]+)/(\d{8})_(?:NO_)?(\d+)\.(?:flac|wav)$")
_SOUND_PATH = re.compile(r"^([^/]+)/[^/]+\.ogg$")


@dataclass(frozen=True)
class Sounds:
    """Sounds as a meta-model reads them.

    Attributes:
        inputs: (n, 1, n_samples) int16.
        labels: (n,) names of their classes.
        speakers: (n,) who speaks; empty where nobody does.
        takes: (n,) how often the speaker had said it.
    """

    inputs: NDArray[np.int16]
    labels: NDArray[np.str_]
    speakers: NDArray[np.str_]
    takes: NDArray[np.int64]

    def pool(self, keep: NDArray[np.bool_]) -> ClassPool:
        """The classes of the rows where `keep` (n,) is true, one group."""
        return ClassPool.by_label(self.inputs, self.labels, np.flatnonzero(keep))


def sound_splits(data: Path, recipe: Recipe) -> Splits:
    """Both data sets, in three parts.

    Raises:
        DataError: a data set is absent or damaged.
    """
    if not isinstance(recipe.input, SoundSpec):
        raise ValueError(f"these data sets hold sounds, the recipe {recipe.name} reads {recipe.input.kind}")
    words, sounds = load_keywords(data, recipe.input), load_environment(data, recipe.input)
    by_tester, by_developer = (np.isin(words.speakers, part) for part in (TEST_SPEAKERS, DEVELOPMENT_SPEAKERS))
    to_test, to_develop = (np.isin(words.labels, part) for part in (TEST_KEYWORDS, DEVELOPMENT_KEYWORDS))
    unheard = np.isin(sounds.labels, TEST_SOUNDS)
    test = by_tester & to_test
    return Splits(
        (joined(words.pool(~by_tester & ~by_developer & ~to_test & ~to_develop), sounds.pool(~unheard)),),
        (words.pool(by_developer & to_develop),),
        (
            Protocol("keywords", words.pool(test), 0.0),
            # One take of each: whoever asks gave no example of that word.
            Protocol("keywords, other speakers", words.pool(test & (words.takes == TAKES[0])), 0.0),
            Protocol("ESC-10, unheard classes", sounds.pool(unheard), 0.0),
        ),
    )


def joined(first: ClassPool, second: ClassPool) -> ClassPool:
    """The classes of both, each pool a group."""
    shift = len(first.inputs)
    return ClassPool(
        np.concatenate([first.inputs, second.inputs]),
        (*first.class_examples, *(rows + shift for rows in second.class_examples)),
        (*first.class_names, *second.class_names),
        np.repeat(np.arange(2), [first.n_classes, second.n_classes]),
    )


def load_keywords(data: Path, spec: SoundSpec) -> Sounds:
    """40 keywords, 30 speakers, two takes: one second each (Ghandoura et al. 2021)."""
    with _open(data, KEYWORDS) as archive:
        found = [
            (match[1], match[2], int(match[3]), name)
            for name in archive.namelist()
            if (match := _KEYWORD_PATH.search(name)) and int(match[3]) in TAKES
        ]
        return _read(archive, sorted(found), spec)


def load_environment(data: Path, spec: SoundSpec) -> Sounds:
    """10 classes of 40 sounds of five seconds (Piczak 2015); what `spec` has no room for is cut off."""
    with _open(data, ENVIRONMENT) as archive:
        return _read(archive, [(name, "", 0, path) for name, path in sorted(_environment(archive))], spec)


def _environment(archive: zipfile.ZipFile) -> Iterator[tuple[str, str]]:
    """(class, path) of a zip of ESC-10, a folder for each class, or of the ESC-10 part of ESC-50."""
    table = next((name for name in archive.namelist() if name.endswith("meta/esc50.csv")), None)
    if table is None:
        yield from ((match[1], name) for name in archive.namelist() if (match := _SOUND_PATH.match(name)))
        return
    root = table.removesuffix("meta/esc50.csv")
    for row in csv.DictReader(io.StringIO(archive.read(table).decode())):
        if row["esc10"] == "True":
            yield _ESC50_NAMES.get(row["category"], row["category"]), f"{root}audio/{row['filename']}"


def _read(archive: zipfile.ZipFile, found: list[tuple[str, str, int, str]], spec: SoundSpec) -> Sounds:
    if not found:
        raise DataError(f"{archive.filename} holds no sounds where they are expected; delete it and try again")
    inputs: list[NDArray[np.int16]] = []
    for *_, path in found:
        try:
            inputs.append(spec.read(archive.read(path), Caps()))
        except UnreadableInput as error:
            raise DataError(f"{archive.filename}: {path}: {error}") from error
    labels, speakers, takes, _ = zip(*found, strict=True)
    return Sounds(np.stack(inputs), np.array(labels), np.array(speakers), np.array(takes))


def _open(data: Path, wanted: Archive) -> zipfile.ZipFile:
    """What the folder holds, verified, or else what the authors offer.

    Raises:
        DataError: neither is there, or it is not what it should be.
    """
    data.mkdir(parents=True, exist_ok=True)
    local, downloaded = data / wanted.file, data / wanted.download
    if local.exists():
        verify(local, wanted.sha256)
        return zipfile.ZipFile(local)
    fetch(wanted.url, downloaded, wanted.md5)
    try:
        archive = zipfile.ZipFile(downloaded)
    except zipfile.BadZipFile as error:
        raise DataError(f"{downloaded} is damaged: {error}. Delete it and try again.") from error
    if wanted.comment not in (None, archive.comment):
        raise DataError(f"{downloaded} is of commit {archive.comment.decode()}, expected {wanted.comment.decode()}")
    return archive
