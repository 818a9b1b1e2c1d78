"""What the service adds to the arithmetic: HTTP against the bare call, in turn, in one run.

POST-to-ready is compared with one process that does the same to the same files and nothing else: decode, put in order,
adapt (same graphs, same threads as the worker). How much of that is decoding is a column of its own: that process
decodes alone, the service decodes many pictures on every core. It waits while the service works, as the worker waits
while it does: a core that slept takes longer over the same arithmetic than one that did not. A one-query prediction is
compared with the ONNX run alone. Absolute times depend on the machine and its load; the differences, medians over pairs
of calls, are what the service costs.

    python -m benchmarks.latency --data data
    chrt -r 1 python -m benchmarks.latency --data data    # ahead of whatever else a busy machine does

The kernel keeps a twentieth of each second from what runs ahead like that, which shows where adapting takes long.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from adapter.adapt import adapt
from adapter.config import Settings
from adapter.models import Adaptation
from adapter.support_set import SupportSet, canonical
from api.decode import Decoder, Payload
from benchmarks.omniglot import TestClasses, test_classes
from innerloop.client import Client
from innerloop.embedded import Embedded
from meta_models.catalogue import Catalogue
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.memory import keep_freed_memory
from meta_models.serving import ServedModel
from meta_models.serving_path import ServingPath
from meta_models.threads import all_but_one
from meta_models.torch_model import Arrays, TorchModel

SETTINGS = ((5, 1), (5, 5), (20, 1), (20, 5))
RESULTS = Path(__file__).parent / "results" / "latency.json"


def clock(call: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds of a call, and what it returned."""
    began = time.perf_counter()
    result = call()
    return (time.perf_counter() - began) * 1000, result


def decoded(decoder: Decoder, path: ServingPath, files: list[tuple[str, bytes]]) -> SupportSet:
    """Files to a support set in canonical order."""
    inputs = decoder.support([Payload(file, "", label) for label, file in files], path.served.manifest.input)
    return canonical([label for label, _ in files], inputs)


def bare(path: ServingPath, support: SupportSet) -> Arrays:
    """What a worker computes, without the service around it."""
    return adapt(path.torch_model, support, path.support_features(support.inputs, support.labels), Adaptation())


def bare_process(name: str, calls: Connection) -> None:
    """Answer support sets of files with the milliseconds of decoding and of adapting to each, until one is empty."""
    as_a_worker()
    path, decoder = serving_path(name), Decoder(Settings(), helpers=0)
    while files := calls.recv():
        decoding, support = clock(lambda f=files: decoded(decoder, path, f))
        calls.send((decoding, clock(lambda s=support: bare(path, s))[0]))


def as_a_worker() -> None:
    """Threads and memory of a worker of one process."""
    torch.set_num_threads(all_but_one())
    keep_freed_memory()


def serving_path(name: str) -> ServingPath:
    """A published meta-model as a worker holds it."""
    published = Catalogue().resolve(name)
    return ServingPath(ServedModel(published.folder), TorchModel.load(published.folder, published.manifest))


def measure(client: Client, name: str, classes: TestClasses, n_way: int, n_shot: int, rounds: int) -> dict[str, Any]:
    """Medians of the calls and of their differences, made in turn `rounds` times, each on a support set never seen."""
    path, decoder = serving_path(name), Decoder(Settings(), helpers=0)
    served = path.served
    calls, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=bare_process, args=(name, theirs), daemon=True)
    process.start()
    columns = ("decode_bare", "adapt_bare", "adapt_http", "predict_bare", "predict_http")
    times: dict[str, list[float]] = {column: [] for column in columns}
    spec = EpisodeSpec(n_way, n_shot, 1)
    for number in range(rounds + 3):
        episode = sample_episode(classes.pool, spec, seed=77 + n_way + 100 * n_shot, number=number)
        query = classes.pool.inputs[episode.query[:1, 0]]
        files, question = classes.support(episode), classes.queries(episode)[:1]
        calls.send(files)
        decoding, adapting = calls.recv()
        times["decode_bare"].append(decoding)
        times["adapt_bare"].append(decoding + adapting)
        took, model = clock(lambda f=files: client.adapt(f, meta_model=name))
        times["adapt_http"].append(took)
        # Where quality comes after `ready`, the next job would wait for it.
        while client.model(model["id"])["quality"] is None:
            time.sleep(0.01)
        adapted = bare(path, decoded(decoder, path, files))
        client.predict(model["id"], question)  # fetches the weights once
        times["predict_bare"].append(clock(lambda a=adapted, q=query: served.logits(a, served.features(q)))[0])
        times["predict_http"].append(clock(lambda m=model, q=question: client.predict(m["id"], q))[0])
        client.delete(model["id"])
    calls.send([])
    process.join()
    kept = {key: np.array(values[3:]) for key, values in times.items()}
    row: dict[str, Any] = {"meta_model": served.manifest.reference, "n_way": n_way, "n_shot": n_shot, "rounds": rounds}
    for key, values in kept.items():
        row[f"{key}_p50_ms"] = round(float(np.median(values)), 2)
    for kind in ("adapt", "predict"):
        row[f"{kind}_overhead_ms"] = round(float(np.median(kept[f"{kind}_http"] - kept[f"{kind}_bare"])), 2)
    return row


def main() -> None:
    """Measure every published drawing meta-model and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    as_a_worker()
    classes = test_classes("omniglot-protonet", arguments.data, turned=False)
    rows: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Embedded(Settings(port=0, data_dir=Path(folder))) as server,
        Client(server.url) as client,
    ):
        for name in ("omniglot-protonet", "omniglot-maml", "omniglot-residual"):
            rows += [measure(client, name, classes, *setting, arguments.rounds) for setting in SETTINGS]
    columns = ["decode_bare_p50_ms", "adapt_bare_p50_ms", "adapt_http_p50_ms", "adapt_overhead_ms"]
    columns += ["predict_bare_p50_ms", "predict_http_p50_ms", "predict_overhead_ms"]
    table = Table("meta-model", "setting", *(c.removesuffix("_ms").replace("_", " ") for c in columns), box=None)
    for row in rows:
        table.add_row(row["meta_model"], f"{row['n_way']}w{row['n_shot']}s", *(str(row[c]) for c in columns))
    Console().print(table)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
