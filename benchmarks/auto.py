"""`meta_model: "auto"` beside the default, on the same episodes: accuracy with one minus accuracy with the other.

Omniglot's evaluation alphabets, all classes of an episode from one of them (protocol L). The choice is the worker's
(`adapter/choosing.py`), adapting and asking are the service's. Candidates are the meta-models that were measured on
protocol L: the twins for protocol V have learned from characters that are asked about here. With one example a class
nothing can be held out, so `auto` is the default and the difference is 0 by construction.

    python -m benchmarks.auto --data data
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from adapter.adapt import adapt
from adapter.choosing import choose, defaults
from adapter.models import ModelSpec
from adapter.support_set import canonical
from api.adaptation import describe
from benchmarks.omniglot import test_classes
from meta_models.benchmark import N_QUERY, TEST_SEED
from meta_models.catalogue import Catalogue
from meta_models.datasets import ClassPool
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.evaluate import Accuracy, pool_features
from meta_models.serving import Features, ServedModel
from meta_models.serving_path import ServingPath
from meta_models.torch_model import TorchModel

SETTINGS = ((5, 1, N_QUERY), (5, 5, N_QUERY), (20, 1, N_QUERY), (20, 5, N_QUERY), (5, 10, 10))
RESULTS = Path(__file__).parent / "results" / "auto.json"


@dataclass(frozen=True)
class Known(ServingPath):
    """The serving path, which looks at each of a pool's images once: a feature depends on its own image alone."""

    table: Features
    rows: dict[bytes, int]

    def features(self, inputs: NDArray[Any]) -> Features:
        return self.table[[self.rows[one.tobytes()] for one in inputs]]


def paths_of(pool: ClassPool) -> dict[str, Known]:
    """Candidates by reference, the default first."""
    catalogue = Catalogue()
    default = catalogue.resolve("drawing")
    others = [p for p in catalogue if p.manifest.input == default.manifest.input and p is not default]
    rows = {pool.inputs[row].tobytes(): int(row) for row in np.concatenate(pool.class_examples)}
    found: dict[str, Known] = {}
    for published in (default, *others):
        manifest = published.manifest
        if any(figure.protocol == "L" for figure in manifest.benchmarks):
            plain = ServingPath(ServedModel(published.folder, manifest), TorchModel.load(published.folder, manifest))
            table = pool_features(plain, pool)
            found[manifest.reference] = Known(plain.served, plain.torch_model, table, rows)
    return found


def one_episode(paths: dict[str, Known], pool: ClassPool, spec: EpisodeSpec, number: int) -> tuple[str, float, float]:
    """What `auto` chose, its accuracy and the default's."""
    episode = sample_episode(pool, spec, TEST_SEED, number)
    n_way, n_shot = episode.support.shape
    names = [f"class {way:02d}" for way in range(n_way)]
    support = canonical([name for name in names for _ in range(n_shot)], pool.inputs[episode.support.ravel()])
    default, manifest = next(iter(paths)), next(iter(paths.values())).served.manifest
    asked = describe(manifest, defaults(manifest), support, candidates=tuple(paths))
    queries = pool.inputs[episode.query.ravel()]
    truth = np.repeat([support.classes.index(name) for name in names], spec.n_query)

    def accuracy(of: ModelSpec) -> float:
        path = paths[of.meta_model]
        adapted = adapt(path.torch_model, support, path.features(support.inputs), of.adaptation)
        return float((path.logits(adapted, path.features(queries)).argmax(1) == truth).mean())

    chosen = choose(asked, support, paths)
    plain = accuracy(asked)
    return chosen.meta_model, plain if chosen.meta_model == default else accuracy(chosen), plain


def measure(paths: dict[str, Known], pool: ClassPool, n_way: int, n_shot: int, n_query: int, n: int) -> dict[str, Any]:
    """One setting over `n` episodes; accuracies in percent, with half the width of their 95% intervals."""
    spec = EpisodeSpec(n_way, n_shot, n_query, within_group=1.0)
    title = f"{n_way}w{n_shot}s"
    found = [one_episode(paths, pool, spec, i) for i in track(range(n), title, console=Console(stderr=True))]
    ours, plain, difference = (
        Accuracy.of(values)
        for values in ([o for _, o, _ in found], [p for _, _, p in found], [o - p for _, o, p in found])
    )
    return {
        "n_way": n_way,
        "n_shot": n_shot,
        "n_query": n_query,
        "protocol": "L",
        "episodes": n,
        "seed": TEST_SEED,
        "inductive": True,
        "auto": round(100 * ours.mean, 2),
        "auto_ci95": round(100 * ours.ci95, 2),
        "default": round(100 * plain.mean, 2),
        "default_ci95": round(100 * plain.ci95, 2),
        "difference": round(100 * difference.mean, 3),
        "difference_ci95": round(100 * difference.ci95, 3),
        "chosen": dict(Counter(chosen for chosen, _, _ in found).most_common()),
    }


def main() -> None:
    """Measure every setting and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--episodes", type=int, default=300)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pool = test_classes("omniglot-residual", arguments.data, turned=False).pool
    paths = paths_of(pool)
    found: dict[str, Any] = {"candidates": list(paths), "default": next(iter(paths)), "rows": []}
    for n_way, n_shot, n_query in SETTINGS:
        row = measure(paths, pool, n_way, n_shot, n_query, arguments.episodes)
        found["rows"].append(row)
        Console().print_json(data=row)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
