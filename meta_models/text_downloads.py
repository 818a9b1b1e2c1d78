"""Text data sets as their authors publish them, made into the files that `text_sources` reads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meta_models.datasets import fetch, verify

SITE = "https://raw.githubusercontent.com"
FOLDS_FILE = "text_fewshot_class_folds.json"
OUT_OF_SCOPE = "oos"

_BANKING = "PolyAI-LDN/task-specific-datasets/master/banking_data"
_CLINC = "clinc/oos-eval/828f8093932c8fe6ca7936c3d2e52903b1c523de/data"
_FEWREL = "thunlp/FewRel/master/data"
_FOLDS = "tdopierre/ProtAugment/6352ababa740133708daed815666b5bf39850d98/data"
_FOLDERS = {"clinc150": "OOS", "banking77": "BANKING77"}
_NUMBERS, _PARTS = ("01", "02", "03", "04", "05"), ("train", "valid", "test")


@dataclass(frozen=True)
class Source:
    """What one file of the data folder is made of.

    Attributes:
        files: paths below `SITE`, each with its sha256 or md5; none is known of the lists of labels.
        made: from the contents of those, in order, to the content of the file.
        sha256: of what is made, where the files have no checksum.
    """

    made: Callable[[list[str]], str]
    files: Mapping[str, str | None]
    sha256: str | None = None


def prepare(data: Path, name: str) -> None:
    """Make `data/<name>`, a key of `SOURCES`, of its authors' files; those are kept in `data/downloads`.

    Raises:
        DataError: a file cannot be downloaded or is not what its checksum says.
    """
    source, contents = SOURCES[name], list[str]()
    for path, checksum in source.files.items():
        target = data / "downloads" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        fetch(f"{SITE}/{path}", target, checksum)
        contents.append(target.read_bytes().decode())  # line ends as they are: texts hold some of another kind
    part = data / f"{name}.part"
    part.write_bytes(source.made(contents).encode())
    verify(part, source.sha256)
    part.rename(data / name)


def banking(contents: list[str]) -> str:
    """Tables of text and category, for training and test."""
    return _lines(
        {"text": row["text"], "label": row["category"], "split": split}
        for split, content in zip(("train", "test"), contents, strict=True)
        for row in csv.DictReader(io.StringIO(content, newline=""))
    )


def clinc(contents: list[str]) -> str:
    """Pairs of text and intent in each part, and the intents of each domain."""
    parts, domains = map(json.loads, contents)
    domain = {intent: name for name, intents in domains.items() for intent in intents} | {OUT_OF_SCOPE: OUT_OF_SCOPE}
    return _lines(
        {"text": text, "label": intent, "split": split, "domain": domain[intent]}
        for split in ("train", "val", "test", "oos_train", "oos_val", "oos_test")
        for text, intent in parts[split]
    )


def fewrel(contents: list[str]) -> str:
    """Sentences in tokens for each property of Wikidata, and names of properties; the first mention of each entity."""
    relations, names = map(json.loads, contents)
    return _lines(
        {
            "text": " ".join(sentence["tokens"]),
            "head": sentence["h"][2][0],
            "tail": sentence["t"][2][0],
            "label": relation,
            "label_name": names[relation][0],
            "split": "val_wiki",
        }
        for relation, sentences in relations.items()
        for sentence in sentences
    )


def folds(contents: list[str]) -> str:
    """A label on each line of a list."""
    lists, files = iter(contents), "data/*/few_shot/0N/labels.{train,valid,test}.txt"
    found: dict[str, Any] = {"source": f"tdopierre/ProtAugment {files} (class-disjoint 5-fold splits)"}
    for name in _FOLDERS:
        found[name] = {number: {part: next(lists).split() for part in _PARTS} for number in _NUMBERS}
    return json.dumps(found, indent=0)


def _lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


SOURCES = {
    "banking77.jsonl": Source(
        banking,
        {
            f"{_BANKING}/train.csv": "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b",
            f"{_BANKING}/test.csv": "d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d",
        },
    ),
    "clinc150.jsonl": Source(
        clinc,
        {
            f"{_CLINC}/data_full.json": "36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0",
            f"{_CLINC}/domains.json": "b947b579d3b8e74b06f93b01083d8efaff2888b43a3e362533bd88a6e1211b3a",
        },
    ),
    "fewrel_val_wiki.jsonl": Source(
        fewrel,
        {  # as published with PaddleFSL
            f"{_FEWREL}/val_wiki.json": "3f25573428c0332cb64b367a275ab0c7",
            f"{_FEWREL}/pid2name.json": "0fe4c5a197c83668d1c7ef255cba5474",
        },
    ),
    FOLDS_FILE: Source(
        folds,
        {
            f"{_FOLDS}/{folder}/few_shot/{number}/labels.{part}.txt": None
            for folder in _FOLDERS.values()
            for number in _NUMBERS
            for part in _PARTS
        },
        "2f6e182a6760533ca22dd67e5b9f48d10c741175d780a5aa20a2538f7755e992",
    ),
}
"""By the name of the file that is made."""
