"""Predictions a second for vectors through HTTP, the whole service on one core: 384 dimensions, 20 classes, `.npy`.

Redis, worker and API are pinned to one core and the client, two connections that send batches of 1,000 in turn, to
another. Processor seconds of API and Redis say what a prediction costs whatever else the machine does: on a busy
machine the service gets a part of its core.

    python -m benchmarks.vectors
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import platform
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from rich.console import Console

from adapter.config import Settings
from innerloop.client import Client
from innerloop.embedded import Embedded

N_DIMENSIONS, N_WAY, N_SHOT, BATCH = 384, 20, 5, 1000
CONNECTIONS = 2
RESULTS = Path(__file__).parent / "results" / "vectors.json"


def processor_seconds(server: Embedded) -> float:
    """User and system time of every part of the service so far."""
    ticks = 0
    for part in server.parts:
        assert part.process is not None
        fields = Path(f"/proc/{part.process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def send(url: str, path: str, body: bytes, until: float, done: list[int]) -> None:
    """Ask the same batch over one connection until the time is over."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port)
    headers = {"Content-Type": "application/x-npy", "Accept": "application/x-npz"}
    data = b""
    while not data or time.perf_counter() < until:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status == 200, data
        done.append(BATCH)
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        assert found["probabilities"].shape == (BATCH, N_WAY)
    connection.close()


def measure(server: Embedded, meta_model: str, seconds: float) -> dict[str, Any]:
    """Throughput and cost for one meta-model."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(N_WAY, N_DIMENSIONS))
    support = (centres.repeat(N_SHOT, 0) + rng.normal(size=(N_WAY * N_SHOT, N_DIMENSIONS))).astype(np.float32)
    queries = (centres[np.arange(BATCH) % N_WAY] + rng.normal(size=(BATCH, N_DIMENSIONS))).astype(np.float32)
    with Client(server.url) as client:
        labels = [f"class {i}" for i in range(N_WAY) for _ in range(N_SHOT)]
        model = client.adapt_vectors(support, labels, meta_model=meta_model)
        client.predict_vectors(model["id"], queries)
    file = io.BytesIO()
    np.save(file, queries)
    done: list[int] = []
    before, began = processor_seconds(server), time.perf_counter()
    arguments = (server.url, f"/v1/models/{model['id']}/predictions", file.getvalue(), began + seconds, done)
    threads = [threading.Thread(target=send, args=arguments) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, spent, n = time.perf_counter() - began, processor_seconds(server) - before, sum(done)
    return {
        "meta_model": model["meta_model"],
        "predictions": n,
        "per_second": round(n / took),
        "per_processor_second": round(n / spent),
        "share_of_the_core": round(spent / took, 2),
        "load_before": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Measure each head and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    assert len(cores) > 1, "one core for the service and another for the client are needed"
    os.sched_setaffinity(0, cores[:1])  # what starts now inherits it
    with tempfile.TemporaryDirectory() as folder, Embedded(Settings(port=0, data_dir=Path(folder))) as server:
        os.sched_setaffinity(0, cores[1:])
        rows = [
            measure(server, name, arguments.seconds) for name in ("vector-prototype", "vector-ridge", "vector-gradient")
        ]
    found = {
        "n_dimensions": N_DIMENSIONS,
        "n_way": N_WAY,
        "batch": BATCH,
        "processor": platform.processor() or platform.machine(),
        "rows": rows,
    }
    Console().print_json(data=found)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
