"""`meta_model: "auto"` beside the default, on the same episodes: accuracy with one minus accuracy with the other.

Test classes of the default of each kind, under its own protocols; drawings are Omniglot's evaluation alphabets, all
classes of an episode from one of them (protocol L). The choice is the worker's (`adapter/choosing.py`), adapting and
asking are the service's, and so are the candidates; a photograph's rival among drawings is left out. With one example a
class nothing can be held out, so `auto` is the default and the difference is 0 by construction.

    python -m benchmarks.auto --data data --kinds drawing sound vector
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
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
from api.adaptation import N_OTHERS, describe
from meta_models.benchmark import N_QUERY, TEST_SEED
from meta_models.catalogue import Catalogue, Published
from meta_models.datasets import ClassPool
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.evaluate import Accuracy, pool_features
from meta_models.recipe import load_recipe
from meta_models.serving import Features, ServedModel
from meta_models.serving_path import ServingPath
from meta_models.sources import load_splits
from meta_models.splits import Protocol
from meta_models.torch_model import TorchModel

SETTINGS = ((5, 1), (5, 5), (20, 1), (20, 5), (5, 10))
"""(n_way, n_shot), where a protocol has classes and examples enough to hold `LEAST_QUERIES` out."""
LEAST_QUERIES = 5
RESULTS = Path(__file__).parent / "results" / "auto.json"


@dataclass(frozen=True)
class Known(ServingPath):
    """The serving path, which looks at each of a pool's images once: a feature depends on its own image alone."""

    table: Features
    rows: dict[bytes, int]

    def features(self, inputs: NDArray[Any]) -> Features:
        return self.torch_model.of_queries(self.support_features(inputs))

    def support_features(self, inputs: NDArray[Any], labels: NDArray[np.int64] | None = None) -> Features:
        return self.table[[self.rows[one.tobytes()] for one in inputs]]


def candidates(kind: str) -> list[Published]:
    """The default of a kind and the best others, as the service ranks them, that read the same inputs."""
    catalogue = Catalogue()
    default = catalogue.resolve(kind)
    others = [m for m in catalogue.ranked(default.manifest.input) if m != default.manifest][:N_OTHERS]
    return [default, *(catalogue.resolve(m.reference) for m in others)]


def paths_of(published: list[Published], pool: ClassPool) -> dict[str, Known]:
    """Candidates by reference."""
    rows = {pool.inputs[row].tobytes(): int(row) for row in np.concatenate(pool.class_examples)}
    found: dict[str, Known] = {}
    for one in published:
        plain = ServingPath(ServedModel(one.folder, one.manifest), TorchModel.load(one.folder, one.manifest))
        found[one.manifest.reference] = Known(plain.served, plain.torch_model, pool_features(plain, pool), rows)
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
        adapted = adapt(path.torch_model, support, path.support_features(support.inputs, support.labels), of.adaptation)
        return float((path.logits(adapted, path.features(queries)).argmax(1) == truth).mean())

    chosen, _ = choose(asked, support, paths)
    plain = accuracy(asked)
    return chosen.meta_model, plain if chosen.meta_model == default else accuracy(chosen), plain


def measure(paths: dict[str, Known], protocol: Protocol, spec: EpisodeSpec, n: int) -> dict[str, Any]:
    """One setting over `n` episodes; accuracies in percent, with half the width of their 95% intervals."""
    pool, n_way, n_shot, n_query = protocol.pool, spec.n_way, spec.n_shot, spec.n_query
    title = f"{protocol.name} {n_way}w{n_shot}s"
    found = [one_episode(paths, pool, spec, i) for i in track(range(n), title, console=Console(stderr=True))]
    ours, plain = (Accuracy.of(values) for values in ([o for _, o, _ in found], [p for _, _, p in found]))
    difference = Accuracy.of_differences([o - p for _, o, p in found])
    return {
        "n_way": n_way,
        "n_shot": n_shot,
        "n_query": n_query,
        "protocol": protocol.name,
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


def measure_kind(kind: str, data: Path, n: int) -> Iterator[dict[str, Any]]:
    """Rows of every protocol and setting of a kind."""
    published = candidates(kind)
    recipe = load_recipe(published[0].manifest.name)
    for protocol in load_splits(data, recipe).test:
        paths, sizes = paths_of(published, protocol.pool), [len(rows) for rows in protocol.pool.class_examples]
        for n_way, n_shot in SETTINGS:
            n_query = min(N_QUERY if n_shot < 10 else 10, min(sizes) - n_shot)
            if n_way <= len(sizes) and n_query >= LEAST_QUERIES:
                spec = EpisodeSpec(n_way, n_shot, n_query, within_group=protocol.within_group)
                row = measure(paths, protocol, spec, n)
                yield {"kind": kind, "default_is": published[0].manifest.reference, "candidates": list(paths), **row}


def main() -> None:
    """Measure every setting and write the table; rows of other kinds stay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--kinds", nargs="+", default=["drawing", "sound", "vector"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    rows = [row for row in kept if row["kind"] not in arguments.kinds]
    for kind in arguments.kinds:
        for row in measure_kind(kind, arguments.data, arguments.episodes):
            rows.append(row)
            Console().print_json(data=row)
            RESULTS.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
