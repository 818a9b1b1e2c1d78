"""How often looks tell drawings from photographs, picture by picture and by support set.

The rule's three thresholds were set by eye on 1,500 Omniglot drawings, the digits and 3,600 photographs of the
validation and test classes of CIFAR-FS; so the photographs counted here are those of its training classes.

    python -m benchmarks.looks --data data
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from api.pictures import CLEAR
from meta_models.datasets import load_omniglot
from meta_models.inputs.drawing import looks_drawn
from meta_models.photo_sources import photo_splits
from meta_models.recipe import load_recipe

SETTINGS = ((5, 1), (5, 5), (20, 1), (20, 5))
RESULTS = Path(__file__).parent / "results" / "looks.json"


def pictures(data: Path) -> dict[str, list[NDArray[np.uint8]]]:
    """Classes of pictures (n_classes, n, height, width[, 3]), by data set."""
    from sklearn.datasets import load_digits

    strokes = load_omniglot(data).strokes
    digits: Any = load_digits()
    ink = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    photographs = photo_splits(data, load_recipe("photo-pretrain")).train[0]
    seen = photographs.inputs.transpose(0, 2, 3, 1)
    return {
        "Omniglot": [np.where(pages, 0, 255).astype(np.uint8) for pages in strokes],
        "digits of 8×8": [255 - ink[digits.target == digit] for digit in range(10)],
        "CIFAR-FS, training classes": [seen[rows] for rows in photographs.class_examples],
    }


def judged(drawn: list[NDArray[np.bool_]], n_way: int, n_shot: int, n_sets: int) -> dict[str, float]:
    """Percent of random support sets that are taken for drawings, for photographs, or left to cross-validation."""
    rng = np.random.default_rng(n_way + 100 * n_shot)
    shares = np.array(
        [
            np.mean([rng.choice(drawn[c], n_shot, replace=False) for c in rng.choice(len(drawn), n_way, replace=False)])
            for _ in range(n_sets)
        ]
    )
    as_drawings, as_photographs = shares >= CLEAR, 1 - shares >= CLEAR
    found = {"drawings": as_drawings, "photographs": as_photographs, "in doubt": ~(as_drawings | as_photographs)}
    return {name: round(100 * float(share.mean()), 2) for name, share in found.items()}


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--sets", type=int, default=2000)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, classes in pictures(arguments.data).items():
        began = time.perf_counter()
        drawn = [np.array([looks_drawn(picture) for picture in pictures]) for pictures in classes]
        every = np.concatenate(drawn)
        row: dict[str, Any] = {
            "data": name,
            "pictures": len(every),
            "look drawn, percent": round(100 * float(every.mean()), 2),
            "microseconds each": round(1e6 * (time.perf_counter() - began) / len(every), 1),
        }
        for n_way, n_shot in SETTINGS:
            if n_way <= len(classes):
                row[f"{n_way}w{n_shot}s, percent of support sets"] = judged(drawn, n_way, n_shot, arguments.sets)
        rows.append(row)
        Console().print_json(data=row)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
