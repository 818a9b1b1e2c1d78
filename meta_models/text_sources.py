"""Classes of short texts: intents of two data sets, class-disjoint, and relations that nothing was learned from.

Files: `banking77.jsonl` (Casanueva et al. 2020, arXiv:2003.04807, CC BY 4.0), `clinc150.jsonl` (Larson et al. 2019,
arXiv:1909.02027, CC BY 3.0), `fewrel_val_wiki.jsonl` (Han et al. 2018, arXiv:1810.10147, MIT), each line with
`text` and `label`; `text_fewshot_class_folds.json`, the five class-disjoint folds of Dopierre et al. 2021 (ProtAugment,
arXiv:2105.12995). `text_downloads.py` makes what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from meta_models.datasets import ClassPool, DataError
from meta_models.inputs import Caps, TextSpec
from meta_models.recipe import Recipe
from meta_models.splits import Protocol, Splits
from meta_models.text_downloads import FOLDS_FILE, OUT_OF_SCOPE, prepare

N_FEWREL = 150
"""Examples of each relation, of 700: as many as an intent of CLINC150 has."""
INTENTS = {"banking77": "BANKING77", "clinc150": "CLINC150"}
N_DEVELOPMENT = 40
"""Examples of a development class: choosing does not need the others, and they cost as much again as meta-training."""


def text_splits(data: Path, recipe: Recipe) -> Splits:
    """Train, development and test classes of the recipe's fold; every test protocol with and without class names.

    Raises:
        DataError: a file is missing and cannot be made, or there is no such fold.
    """
    spec, fold = recipe.input, recipe.data.fold
    if not isinstance(spec, TextSpec):
        raise ValueError(f"these data sets hold texts, the recipe {recipe.name} reads {spec.kind}")
    folds = json.loads(read_file(data, FOLDS_FILE))
    if unknown := [name for name in INTENTS if fold not in folds[name]]:
        raise DataError(f"fold: {unknown[0]} has no {fold!r}; it has {', '.join(sorted(folds[unknown[0]]))}")
    pools = {
        (name, part): text_pool(data, name, spec, folds[name][fold][part])
        for name in INTENTS
        for part in ("train", "valid", "test")
    }
    shown = {title: pools[name, "test"] for name, title in INTENTS.items()}
    shown["FewRel"] = first_examples(text_pool(data, "fewrel_val_wiki", spec), N_FEWREL)
    protocols = [
        (Protocol(title, pool, 0.0), Protocol(f"{title}, names hidden", without_names(pool, spec), 0.0))
        for title, pool in shown.items()
    ]
    return Splits(
        tuple(pools[name, "train"] for name in INTENTS),
        tuple(first_examples(pools[name, "valid"], N_DEVELOPMENT) for name in INTENTS),
        tuple(protocol for pair in protocols for protocol in pair),
    )


def text_pool(data: Path, name: str, spec: TextSpec, labels: Iterable[str] | None = None) -> ClassPool:
    """The classes of `<name>.jsonl`, or those among them that `labels` lists; each text with its class name.

    A line's `label_name` says what a label that is a mere code stands for.
    """
    lines = read_lines(data, name)
    wanted = None if labels is None else set(labels)
    kept = [line for line in lines if (wanted is None or line["label"] in wanted) and line["label"] != OUT_OF_SCOPE]
    named = {line["label"]: line.get("label_name", line["label"]) for line in kept}
    rows = np.stack([spec.with_name(spec.read(line["text"], Caps()), named[line["label"]]) for line in kept])
    pool = ClassPool.by_label(rows, np.array([line["label"] for line in kept]), np.arange(len(kept)))
    return replace(pool, class_names=tuple(named[label] for label in pool.class_names))


def first_examples(pool: ClassPool, n: int) -> ClassPool:
    """At most `n` examples of each class."""
    return replace(pool, class_examples=tuple(rows[:n] for rows in pool.class_examples))


def without_names(pool: ClassPool, spec: TextSpec) -> ClassPool:
    """The same texts, whose classes have no names."""
    texts, names = spec.parts(pool.inputs)
    return replace(pool, inputs=np.concatenate([texts, np.zeros_like(names)], axis=1))


def read_lines(data: Path, name: str) -> list[dict[str, Any]]:
    """The lines of `<name>.jsonl`.

    Raises:
        DataError: it is missing and cannot be made.
    """
    return [json.loads(line) for line in read_file(data, f"{name}.jsonl").splitlines()]


def read_file(data: Path, name: str) -> str:
    """A file of the data folder, made of its authors' files where it is missing.

    Raises:
        DataError: it is missing and cannot be made.
    """
    if not (data / name).is_file():
        prepare(data, name)
    return (data / name).read_text(encoding="utf-8")
