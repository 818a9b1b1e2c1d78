"""The adapting export beside the service and beside torch: the same answers, and how long they take.

Each episode goes to `POST /v1/classify` as PNG files and to the exported graph as arrays; their probabilities are
compared. In the same run, in turn, the graph and torch (the worker's own call, then the head) are timed, both on
one thread.

    python -m benchmarks.adapting_export --data data
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from adapter.config import Settings
from benchmarks.latency import clock
from benchmarks.omniglot import TestClasses, test_classes
from innerloop.client import Client
from innerloop.embedded import Embedded
from meta_models.algorithms import InnerSettings
from meta_models.catalogue import Catalogue
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.export_adapting import export_adapting
from meta_models.exported import AdaptingClassifier
from meta_models.torch_model import TorchModel

RUNS = (("omniglot-protonet", None), ("omniglot-maml", None), ("omniglot-maml", InnerSettings(3, 0.01)))
"""Meta-models with the settings they are published with, and gradient steps in any case."""

SETTINGS = ((5, 1), (5, 5), (20, 1), (20, 5))
BAR = 1e-4
SEED = 31_000
RESULTS = Path(__file__).parent / "results" / "adapting_export.json"


@dataclass
class Measured:
    """Of one meta-model in one setting: a value an episode."""

    differences: list[float] = field(default_factory=list)
    graph_ms: list[float] = field(default_factory=list)
    torch_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """A meta-model three times: as a graph, in torch, behind the service."""

    name: str
    inner: InnerSettings | None
    graph: AdaptingClassifier
    torch_model: TorchModel
    client: Client
    classes: TestClasses

    def episode(self, n_way: int, n_shot: int, number: int, measured: Measured) -> None:
        """One episode of 5 queries a class."""
        rows = sample_episode(self.classes.pool, EpisodeSpec(n_way, n_shot, 5, within_group=1.0), SEED, number)
        support, queries = (self.classes.pool.inputs[r.ravel()] for r in (rows.support, rows.query))
        labels = np.repeat(np.arange(n_way), n_shot)
        took, (here, _) = clock(lambda: self.graph(support, labels, n_way, queries))
        measured.graph_ms.append(took)
        measured.torch_ms.append(clock(lambda: self._in_torch(support, labels, n_way, queries))[0])
        answer = self.client.classify(
            self.classes.support(rows),
            self.classes.queries(rows),
            meta_model=self.name,
            inner_steps=self.inner.inner_steps if self.inner else None,
            inner_lr=self.inner.inner_lr if self.inner else None,
            top_k=n_way,
        )
        served = np.zeros((len(queries), n_way))
        for row, result in enumerate(answer["results"]):
            for score in result["scores"]:
                served[row, int(score["label"])] = score["probability"]
        measured.differences.append(float(np.abs(here - served).max()))

    def _in_torch(
        self, support: NDArray[np.uint8], labels: NDArray[np.int64], n_way: int, queries: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        model = self.torch_model
        adapted = model.adapt(model.features(support), labels, n_way, self.inner)
        return model.logits(adapted, model.features(queries))


def main() -> None:
    """Run every meta-model and setting, write the table; exit code 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--episodes", type=int, default=200, help="of each meta-model, a quarter in each setting")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console, rows = Console(), list[dict[str, Any]]()
    with (
        tempfile.TemporaryDirectory() as folder,
        Embedded(Settings(port=0, data_dir=Path(folder))) as server,
        Client(server.url) as client,
    ):
        for name, inner in RUNS:
            published = Catalogue().resolve(name)
            model = TorchModel.load(published.folder, published.manifest)
            settings = inner or model.algorithm.inner
            graph = AdaptingClassifier(export_adapting(model, published.manifest, settings).data)
            bench = Bench(name, settings, graph, model, client, test_classes(name, arguments.data, turned=False))
            for n_way, n_shot in SETTINGS:
                measured = Measured()
                numbers = range(arguments.episodes // len(SETTINGS))
                for number in track(numbers, f"{name} {n_way}w{n_shot}s", console=console):
                    bench.episode(n_way, n_shot, number, measured)
                rows.append(_row(bench, n_way, n_shot, measured))
    _show(console, rows)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    raise SystemExit(any(row["max_difference"] > BAR for row in rows))


def _row(bench: Bench, n_way: int, n_shot: int, measured: Measured) -> dict[str, Any]:
    graph, in_torch = np.array(measured.graph_ms), np.array(measured.torch_ms)
    return {
        "meta_model": bench.graph.about.meta_model,
        "inner_steps": bench.graph.about.inner_steps,
        "inner_lr": bench.graph.about.inner_lr,
        "n_way": n_way,
        "n_shot": n_shot,
        "n_query": 5,
        "episodes": len(graph),
        "seed": SEED,
        "max_difference": max(measured.differences),
        "graph_p50_ms": round(float(np.median(graph)), 2),
        "torch_p50_ms": round(float(np.median(in_torch)), 2),
        # Of pairs measured one after the other, so that the machine's load counts for both.
        "time_ratio_p50": round(float(np.median(graph / in_torch)), 3),
    }


def _show(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table("meta-model", "steps", "setting", "largest difference", "graph ms", "torch ms", "ratio", box=None)
    for row in rows:
        values = (f"{row['max_difference']:.1e}", row["graph_p50_ms"], row["torch_p50_ms"], row["time_ratio_p50"])
        setting = f"{row['n_way']}w{row['n_shot']}s"
        table.add_row(row["meta_model"], str(row["inner_steps"] or "–"), setting, *map(str, values))
    console.print(table)


if __name__ == "__main__":
    main()
