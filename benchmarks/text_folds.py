"""The text recipe on all five folds of intents, as papers report it: each meta-trained, published aside and measured.

Fold 01 is what is published with the package, by `innerloop meta-train text-minilm`. A run that was interrupted goes
on where it was.

    python -m benchmarks.text_folds --data data
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from innerloop.wording import half_width
from meta_models.catalogue import ZOO
from meta_models.manifest import MANIFEST_FILE, Figure, Manifest, read_manifest
from meta_models.produce import produce
from meta_models.recipe import load_recipe

FOLDS = ("01", "02", "03", "04", "05")
EPISODES = 1000
RESULTS = Path(__file__).parent / "results" / "text_folds.json"


def fold(number: str, data: Path, runs: Path, out: Console) -> Manifest:
    """The published meta-model of a fold, made where there is none yet."""
    recipe = load_recipe("text-minilm")
    if number == recipe.data.fold:
        return read_manifest(ZOO / recipe.name)
    name = f"{recipe.name}-fold-{number}"
    recipe = recipe.model_copy(
        update={"name": name, "data": recipe.data.model_copy(update={"fold": number})},
    )
    folder = runs / "zoo" / name
    if (folder / MANIFEST_FILE).exists() and (done := read_manifest(folder)).benchmarks:
        return done
    with Progress(console=out) as progress:
        bar = progress.add_task(name, total=recipe.outer.steps)
        return produce(
            recipe,
            data,
            runs / name,
            zoo=runs / "zoo",
            episodes=EPISODES,
            say=lambda words: out.print(f"{name}: {words}"),
            on_progress=lambda step, _: progress.update(bar, completed=step),
        )


def means(manifests: Sequence[Manifest]) -> list[dict[str, Any]]:
    """Of each setting: the mean over folds with its 95% interval over them, and every fold's own."""
    settings: dict[tuple[str, int, int], list[Figure]] = {}
    for manifest in manifests:
        for figure in manifest.benchmarks:
            settings.setdefault((figure.protocol, figure.n_way, figure.n_shot), []).append(figure)
    return [
        {
            "classes": protocol,
            "n_way": n_way,
            "n_shot": n_shot,
            "accuracy": round(sum(f.accuracy for f in figures) / len(figures), 2),
            "ci95": round(half_width(np.array([f.accuracy for f in figures])), 2),
            "folds": [f.accuracy for f in figures],
            "episodes": [f.episodes for f in figures],
        }
        for (protocol, n_way, n_shot), figures in settings.items()
    ]


def main() -> None:
    """Make what is missing, write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    out = Console()
    rows = means([fold(number, arguments.data, arguments.runs, out) for number in FOLDS])
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    table = Table("classes", "setting", "mean of five folds", *FOLDS, box=None, header_style="dim")
    for row in rows:
        mean = f"{row['accuracy']:.2f} ± {row['ci95']:.2f}"
        table.add_row(row["classes"], f"{row['n_way']}w{row['n_shot']}s", mean, *(f"{a:.2f}" for a in row["folds"]))
    out.print(table)


if __name__ == "__main__":
    main()
