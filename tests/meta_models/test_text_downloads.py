"""Texts from their authors: small files in their formats, from a server on loopback, become the lines that are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from meta_models import text_downloads
from meta_models.datasets import DataError
from meta_models.recipe import Data
from meta_models.text_downloads import FOLDS_FILE, SOURCES
from meta_models.text_sources import read_file, read_lines, text_splits
from tests.local_server import listening
from tests.texts import recipe, spec

INTENTS = {"banking77": ("arrival", "refund", "lost?"), "clinc150": ("timer", "w2", "no")}
PARTS = ("train", "valid", "test")

BANKING = (
    'text,category\r\nWhere is it?,arrival\r\n"Still, no ""card""\nhere\n",refund\r\n lost €1,lost?\r\n',
    "text,category\r\nmoney back,refund\r\n",
)
CLINC = (
    {
        "oos_val": [["what is a duck", "oos"]],
        "val": [["stop it", "timer"]],
        "train": [["set one", "timer"], ["my form", "w2"], ["nope", "no"]],
        "oos_test": [],
        "test": [["w2 please", "w2"]],
        "oos_train": [["are birds real", "oos"]],
    },
    {"utility": ["timer"], "work": ["w2"], "meta": ["no"]},
)
FEWREL = (
    {
        "P177": [
            {
                "tokens": ["The", "new", "Bridge", " ", "spans", "it", "."],
                "h": ["new bridge", "Q1", [[1, 2], [4]]],
                "t": ["it", "Q2", [[5]]],
            }
        ]
    },
    {"P177": ["crosses", "obstacle"], "P1": ["other", ""]},
)


def bodies() -> dict[str, bytes]:
    """What each author's address answers."""
    paths = {name: list(source.files) for name, source in SOURCES.items()}
    found = dict(zip(paths["banking77.jsonl"], (table.encode() for table in BANKING), strict=True))
    for name, contents in (("clinc150.jsonl", CLINC), ("fewrel_val_wiki.jsonl", FEWREL)):
        found |= zip(paths[name], (json.dumps(content, indent=4).encode() for content in contents), strict=True)
    for path in paths[FOLDS_FILE]:
        of = INTENTS["banking77" if "BANKING77" in path else "clinc150"]
        found[path] = f"{of[[part in path for part in PARTS].index(True)]}\n".encode()
    return found


@pytest.fixture
def authors(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A server that has all of it, each with its checksum; may be emptied."""
    answers = bodies()
    for name, source in SOURCES.items():
        files = {p: None if c is None else hashlib.sha256(answers[p]).hexdigest() for p, c in source.files.items()}
        monkeypatch.setitem(SOURCES, name, replace(source, files=files, sha256=None))
    with listening(
        lambda _, path, *__: (200, {}, answers[path[1:]]) if path[1:] in answers else (404, {}, b"")
    ) as port:
        monkeypatch.setattr(text_downloads, "SITE", f"http://127.0.0.1:{port}")
        yield answers


def test_an_empty_folder_is_enough_to_learn_from(authors: dict[str, bytes], tmp_path: Path) -> None:
    text = spec(tmp_path / "tokenizer")
    splits = text_splits(tmp_path / "data", recipe(text))
    assert [pool.class_names for pool in splits.train] == [("arrival",), ("timer",)]
    assert [pool.class_names for pool in splits.development] == [("refund",), ("w2",)]
    shown = {protocol.name: protocol.pool.class_names for protocol in splits.test if "hidden" not in protocol.name}
    assert shown == {"BANKING77": ("lost?",), "CLINC150": ("no",), "FewRel": ("crosses",)}
    authors.clear()  # the second time needs nobody
    assert text_splits(tmp_path / "data", recipe(text)).n_classes == splits.n_classes
    ninth = recipe(text).model_copy(update={"data": Data(name="text", fold="09")})
    with pytest.raises(DataError, match="fold: banking77 has no '09'; it has 01, 02, 03, 04, 05"):
        text_splits(tmp_path / "data", ninth)


def test_lines_are_those_that_others_prepared(authors: dict[str, bytes], tmp_path: Path) -> None:
    """Order, labels, parts and members, as in the files that the published meta-models learned from."""
    assert read_lines(tmp_path, "banking77") == [
        {"text": "Where is it?", "label": "arrival", "split": "train"},
        {"text": 'Still, no "card"\nhere\n', "label": "refund", "split": "train"},
        {"text": " lost €1", "label": "lost?", "split": "train"},
        {"text": "money back", "label": "refund", "split": "test"},
    ]
    assert [tuple(line.values()) for line in read_lines(tmp_path, "clinc150")] == [
        ("set one", "timer", "train", "utility"),
        ("my form", "w2", "train", "work"),
        ("nope", "no", "train", "meta"),
        ("stop it", "timer", "val", "utility"),
        ("w2 please", "w2", "test", "work"),
        ("are birds real", "oos", "oos_train", "oos"),
        ("what is a duck", "oos", "oos_val", "oos"),
    ]
    assert read_file(tmp_path, "fewrel_val_wiki.jsonl") == (
        '{"text": "The new Bridge   spans it .", "head": [1, 2], "tail": [5], "label": "P177", '
        '"label_name": "crosses", "split": "val_wiki"}\n'
    )
    folds = json.loads(read_file(tmp_path, FOLDS_FILE))
    assert list(folds["clinc150"]) == ["01", "02", "03", "04", "05"]
    assert folds["banking77"]["05"] == {"train": ["arrival"], "valid": ["refund"], "test": ["lost?"]}


def test_another_file_than_the_published_one_is_refused(authors: dict[str, bytes], tmp_path: Path) -> None:
    path = next(path for path in authors if path.endswith("domains.json"))
    authors[path] += b" "
    with pytest.raises(DataError, match=r"domains\.json\.part is damaged"):
        read_lines(tmp_path, "clinc150")
    assert not (tmp_path / "clinc150.jsonl").exists()


def test_other_labels_than_the_published_folds_are_refused(
    authors: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, FOLDS_FILE, replace(SOURCES[FOLDS_FILE], sha256="0" * 64))
    with pytest.raises(DataError, match="damaged: its sha256"):
        read_file(tmp_path, FOLDS_FILE)
    assert not (tmp_path / FOLDS_FILE).exists()


def test_no_network_says_what_to_put_where(authors: dict[str, bytes], tmp_path: Path) -> None:
    authors.clear()
    with pytest.raises(DataError, match=r"(?s)cannot download .*Put train\.csv into .*banking_data by hand"):
        read_lines(tmp_path, "banking77")
