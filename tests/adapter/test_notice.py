"""A worker that is told to stop: what it has in hand ends in time or is given back, and costs no attempt."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock, PropertyMock

import pytest

from adapter.config import Settings
from adapter.notice import Notice
from adapter.queue import Publisher
from adapter.store import Records
from adapter.worker import Worker
from innerloop.part import Part
from tests.adapter.test_worker import queued
from tests.faults.victim import until

ENDLESS, SHORT = 10**8, 500
"""Inner steps: for days, and for a second or less."""


@pytest.fixture(params=[1, 2])
def worker(request: pytest.FixtureRequest, redis_url: str, records: Records, tmp_path: Path) -> Iterator[Part]:
    """A worker, of one process and of several, as `innerloop serve` starts and stops it."""
    settings = {"REDIS_URL": redis_url, "DEVICE": "cpu", "WORKER_PROCESSES": str(request.param)}
    environment = {f"INNERLOOP_{name}": value for name, value in settings.items()}
    part = Part("worker", [sys.executable, "-m", "innerloop", "worker"], tmp_path / "logs" / "worker.log", environment)
    part.start()
    until(lambda: bool(records.client.keys("il:worker:*")))
    yield part
    part.kill()


def status(records: Records, job: str) -> str:
    return records.get("anna", job.split("/")[1]).status


def test_what_is_soon_over_ends_and_what_takes_long_is_given_back(
    records: Records, redis_url: str, worker: Part
) -> None:
    publisher = Publisher(redis_url)
    at_a_time = int(worker.environment["INNERLOOP_WORKER_PROCESSES"])
    jobs = [queued(records, inner_steps) for inner_steps in (ENDLESS, SHORT)][:at_a_time]
    for job in jobs:
        publisher.nudge(job)
    until(lambda: all(status(records, job) != "queued" for job in jobs))
    worker.stop()
    publisher.close()
    assert worker.how_it_ended() == "ended with code 0", worker.log_tail()
    assert [status(records, job) for job in jobs] == ["adapting", "ready"][:at_a_time]
    claim = records.claim(jobs[0])
    assert claim is not None, "nobody holds it"
    assert claim.attempt == 1, "the first was none"


def test_a_measurement_that_takes_long_is_given_back(
    records: Records, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is ready, and another worker measures it."""
    job, settings = queued(records, n_shot=2), Settings(redis_url=redis_url, device="cpu")
    over = Mock(spec=Notice)
    type(over).is_over = PropertyMock(side_effect=lambda: status(records, job) == "ready")
    assert not Worker(settings, over).run(job)
    assert (status(records, job), records.get("anna", job.split("/")[1]).quality) == ("ready", "")
    other = Worker(settings)
    monkeypatch.setattr(other, "_adapt", Mock(side_effect=AssertionError("adapted again")))
    assert other.run(job)
    assert records.get("anna", job.split("/")[1]).quality != ""
