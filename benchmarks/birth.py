"""What measuring a model's quality costs its birth: time to `ready` with and without, side by side in one run.

The real worker with a real Redis, in this process, on one thread. The same support set is adapted twice, as a model,
which is measured, and as `/v1/classify` has it adapted, which is not; each goes first every other time. *Ready* ends
when the model is: where quality costs next to nothing it is measured before, else after. *Busy* ends when the worker is
free for the next job. HTTP and decoding, the same for both, would make the ratios smaller.

    python -m benchmarks.birth --data data
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from adapter.choosing import defaults
from adapter.config import Settings
from adapter.jobs import Claim
from adapter.store import Records, connect
from adapter.support_set import SupportSet, canonical, encode
from adapter.worker import Worker
from api.adaptation import describe
from benchmarks.omniglot import test_classes
from innerloop.embedded import redis_server
from meta_models.catalogue import Catalogue
from meta_models.datasets import ClassPool
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.manifest import Manifest

SETTINGS = ((5, 1), (5, 5), (20, 5))
N_DIMENSIONS = 384
OWNER, LIFE_SECONDS = "bench", 600
RESULTS = Path(__file__).parent / "results" / "birth.json"


class Timed(Records):
    """Notes when a model got ready."""

    ready_at = 0.0

    def serve(self, claim: Claim, adapt_ms: float) -> bool:
        done = super().serve(claim, adapt_ms)
        self.ready_at = time.perf_counter()
        return done

    def finish(self, claim: Claim, adapt_ms: float, quality: str = "") -> bool:
        done = super().finish(claim, adapt_ms, quality)
        self.ready_at = self.ready_at or time.perf_counter()
        return done


@contextmanager
def a_redis() -> Iterator[str]:
    """The address of a server for as long as it is wanted."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "redis.sock"
        command = [redis_server(), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - our own command
            while not path.exists():
                time.sleep(0.01)
            yield f"unix://{path}"
            process.terminate()


def support_of(pool: ClassPool, manifest: Manifest, n_way: int, n_shot: int, number: int) -> SupportSet:
    """Characters of the evaluation alphabets, or vectors around random centres."""
    labels = [f"class {way}" for way in range(n_way) for _ in range(n_shot)]
    if manifest.modality == "vector":
        rng = np.random.default_rng((number, n_way, n_shot))
        centres = rng.normal(size=(n_way, N_DIMENSIONS)).repeat(n_shot, 0)
        return canonical(labels, (centres + rng.normal(size=centres.shape)).astype(np.float32))
    rows = sample_episode(pool, EpisodeSpec(n_way, n_shot, 1), seed=77, number=number).support.ravel()
    return canonical(labels, pool.inputs[rows])


def born(
    worker: Worker, records: Timed, manifest: Manifest, support: SupportSet, *, measured: bool
) -> tuple[float, float]:
    """Milliseconds until ready and until the worker is free."""
    spec = describe(manifest, defaults(manifest), support, once=not measured)
    made = records.create(OWNER, spec, encode(support), LIFE_SECONDS)
    records.ready_at, began = 0.0, time.perf_counter()
    assert worker.run(f"{OWNER}/{made.id}")
    free = time.perf_counter()
    assert bool(records.get(OWNER, made.id).quality) == measured
    records.delete(OWNER, made.id)
    worker.weights.delete(OWNER, [spec.weights])
    return 1000 * (records.ready_at - began), 1000 * (free - began)


def measure(
    worker: Worker, records: Timed, pool: ClassPool, manifest: Manifest, n_way: int, n_shot: int, rounds: int
) -> dict[str, Any]:
    """Medians over `rounds` support sets, each adapted both ways."""
    times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for number in range(rounds + 2):
        support = support_of(pool, manifest, n_way, n_shot, number)
        for measured in (number % 2 == 0, number % 2 == 1):
            times[measured].append(born(worker, records, manifest, support, measured=measured))
    (ready, busy), (ready_plain, busy_plain) = (np.median(times[how][2:], axis=0) for how in (True, False))
    return {
        "meta_model": manifest.reference,
        "n_way": n_way,
        "n_shot": n_shot,
        "rounds": rounds,
        "ready_ms": round(float(ready), 2),
        "ready_without_ms": round(float(ready_plain), 2),
        "ready_ratio": round(float(ready / ready_plain), 3),
        "busy_ms": round(float(busy), 2),
        "busy_ratio": round(float(busy / busy_plain), 3),
    }


def main() -> None:
    """Measure every published meta-model and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    pool = test_classes("omniglot-residual", arguments.data, turned=False).pool
    rows: list[dict[str, Any]] = []
    with a_redis() as url:
        settings = Settings(redis_url=url, device="cpu", worker_threads=1)
        worker = Worker(settings)
        worker.records = records = Timed(connect(url), settings)
        manifests = [p.manifest for p in Catalogue() if "vinyals" not in p.manifest.name]  # twins cost the same
        runs = [(manifest, *setting) for manifest in manifests for setting in SETTINGS]
        for manifest, n_way, n_shot in track(runs, "adapting", console=Console(stderr=True)):
            rows.append(measure(worker, records, pool, manifest, n_way, n_shot, arguments.rounds))
            Console().print_json(data=rows[-1])
    RESULTS.write_text(json.dumps({"threads": torch.get_num_threads(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
