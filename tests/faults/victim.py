"""What the fault tests do to a service: keep it busy, let it sleep, kill its parts, wait for it to heal."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import redis

from innerloop.embedded import Embedded, Part
from tests.drawings import support_json

PATIENCE_SECONDS = 90.0


@dataclass
class Victim:
    """A running service and a client of it."""

    running: Embedded
    http: httpx.Client

    def part(self, name: str) -> Part:
        return next(p for p in self.running.parts if p.name == name)

    def store(self, role: str) -> redis.Redis:
        """A direct client of one Redis role."""
        name = {"records": "INNERLOOP_REDIS_URL", "weights": "INNERLOOP_WEIGHTS_REDIS_URL"}[role]
        return redis.Redis.from_url(self.part("worker").environment[name])

    def kill(self, name: str) -> None:
        """kill -9 a part with all its children, and wait until the supervisor has replaced it."""
        process = self.part(name).process
        assert process is not None
        for pid in [*children(process.pid), process.pid]:
            os.kill(pid, signal.SIGKILL)
        until(lambda: self.part(name).process is not process)

    def adapt_later(self, body: dict[str, Any]) -> str:
        """Post a support set without waiting; the accepted model's id."""
        answer = self.http.post("/v1/models", json=body, headers={"Prefer": "respond-async"})
        assert answer.status_code in (201, 202), answer.text
        return answer.json()["id"]

    def status(self, model_id: str) -> str:
        """Its status now; `away` while the API is being restarted."""
        try:
            answer = self.http.get(f"/v1/models/{model_id}")
        except httpx.TransportError:
            return "away"
        return answer.json()["status"] if answer.status_code == 200 else "away"

    def all_ready(self, ids: list[str]) -> None:
        """Wait until every one of them is ready."""
        for model_id in ids:
            until(lambda i=model_id: self.status(i) == "ready")


def slow(seed: int) -> dict[str, Any]:
    """An adapt request that keeps a worker busy for seconds."""
    adaptation = {"inner_steps": 20, "inner_lr": 0.001}
    return {"meta_model": "omniglot-maml", "adaptation": adaptation, "support": support_json(4, 8, first=1000 * seed)}


def quick(seed: int) -> dict[str, Any]:
    """An adapt request that takes milliseconds, different for every seed."""
    return {"support": support_json(2, 1, first=10_000 + 10 * seed)}


def children(pid: int) -> list[int]:
    """Process ids below `pid`, from the kernel."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition to hold."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@contextmanager
def asleep(server: Embedded) -> Iterator[Event]:
    """The service with a worker that does nothing until the event is set, or the block ends."""
    [worker] = [part for part in server.parts if part.name == "worker"]
    assert worker.process is not None
    group, awake = worker.process.pid, Event()

    def wake() -> None:
        awake.wait()
        os.killpg(group, signal.SIGCONT)

    waking = Thread(target=wake)
    os.killpg(group, signal.SIGSTOP)
    waking.start()
    try:
        yield awake
    finally:
        awake.set()
        waking.join()
