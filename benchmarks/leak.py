"""What an answer gains from the other queries of its batch: the same network, the same episodes, three normalisations.

- *inductive*: by the running statistics of meta-training, as the service does;
- *apart*: support set and query batch, each by its own statistics, as MAML's and the Relation Network's code does;
- *together*: one batch of support set and queries.

Query batches are balanced, 15 of each class, as in papers: what the last two gain is what they are told about them.

    python -m benchmarks.leak --data data
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from benchmarks.omniglot import test_classes
from meta_models.algorithms.protocol import class_means
from meta_models.benchmark import N_QUERY, TEST_SEED
from meta_models.catalogue import Catalogue
from meta_models.datasets import ClassPool
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.evaluate import Accuracy
from meta_models.torch_model import TorchModel, as_floats

NAME, PROTOCOL = "omniglot-protonet-vinyals", "V rotated"
SETTINGS = ((5, 1), (5, 5), (20, 1), (20, 5))
NORMALISED = ("inductive", "apart", "together")
RESULTS = Path(__file__).parent / "results" / "leak.json"


def body(model: TorchModel, inputs: Tensor, *, by_batch: bool) -> Tensor:
    """Features of unit length; running statistics stay as they are."""
    meta_params = {name: t.clone() if "running" in name else t for name, t in model.meta_params.items()}
    with torch.no_grad():
        return functional.normalize(model.algorithm.body(meta_params, inputs, training=by_batch).float(), dim=-1)


def episode(model: TorchModel, pool: ClassPool, spec: EpisodeSpec, number: int) -> list[float]:
    """Accuracy of one episode under each of `NORMALISED`."""
    rows = sample_episode(pool, spec, TEST_SEED, number)
    support = as_floats(torch.from_numpy(pool.inputs[np.concatenate(rows.support)]))
    queries = as_floats(torch.from_numpy(pool.inputs[rows.query.ravel()]))
    labels, truth = (torch.arange(spec.n_way).repeat_interleave(n) for n in (spec.n_shot, spec.n_query))
    both = torch.cat([support, queries])

    def right(features: Tensor) -> float:
        known, asked = features.split([len(support), len(queries)])
        prototypes = functional.normalize(class_means(known, labels, spec.n_way), dim=-1)
        return float(((asked @ prototypes.T).argmax(1) == truth).float().mean())

    inductive, together = (body(model, both, by_batch=by_batch) for by_batch in (False, True))
    apart = torch.cat([body(model, part, by_batch=True) for part in (support, queries)])
    return [right(features) for features in (inductive, apart, together)]


def main() -> None:
    """Measure every setting and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    published, console = Catalogue().resolve(NAME), Console()
    model = TorchModel.load(published.folder, published.manifest)
    pool = test_classes(NAME, arguments.data, turned=True).pool
    rows: list[dict[str, Any]] = []
    table = Table("setting", *NORMALISED, "apart - inductive", "together - inductive", box=None)
    for n_way, n_shot in SETTINGS:
        spec = EpisodeSpec(n_way, n_shot, N_QUERY)
        title = f"{n_way}w{n_shot}s"
        numbers = track(range(arguments.episodes), title, console=console)
        scores = np.array([episode(model, pool, spec, number) for number in numbers])
        means = {name: Accuracy.of(list(column)) for name, column in zip(NORMALISED, scores.T, strict=True)}
        more = {name: list(scores[:, i] - scores[:, 0]) for i, name in enumerate(NORMALISED) if i}
        gains = {name: Accuracy.of_differences(differences) for name, differences in more.items()}
        row: dict[str, Any] = {"meta_model": NAME, "protocol": PROTOCOL, "n_way": n_way, "n_shot": n_shot}
        row |= {"n_query": N_QUERY, "episodes": arguments.episodes, "seed": TEST_SEED}
        for kind, found in (("accuracy", means), ("gain", gains)):
            row[kind] = {k: {"mean": round(100 * a.mean, 2), "ci95": round(100 * a.ci95, 2)} for k, a in found.items()}
        rows.append(row)
        table.add_row(title, *map(str, means.values()), *map(str, gains.values()))
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    console.print(table)


if __name__ == "__main__":
    main()
