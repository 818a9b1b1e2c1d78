"""Open jobs are told of again, but never more often than somebody listens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from unittest.mock import Mock

import pytest
import redis

from adapter.errors import StoreFull
from adapter.queue import Publisher
from adapter.reaper import Reaper, reap
from adapter.redis_store import JOBS, QUEUE
from adapter.store import Records
from tests.adapter.test_store import create, job, lapse
from tests.faults.victim import until


@pytest.fixture
def publisher(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    monkeypatch.setattr("adapter.redis_store.GRACE_MS", 10)
    publisher = Publisher(redis_url)
    yield publisher
    publisher.close()


def rounds(records: Records, publisher: Publisher, n: int = 5) -> int:
    """How many nudges as many looks send, each after the pause."""
    sent = 0
    for _ in range(n):
        time.sleep(0.02)
        sent += reap(records, publisher)
    return sent


def test_nudges_that_nobody_takes_do_not_pile_up(records: Records, client: redis.Redis, publisher: Publisher) -> None:
    for n in range(4):
        create(records, digest=f"sha256:{n}")
    assert rounds(records, publisher) == client.llen(QUEUE) == 4
    create(records, digest="sha256:another")
    assert rounds(records, publisher) == 1
    client.delete(QUEUE)
    assert reap(records, publisher) == 5, "lost with the queue, all are sent again"


def test_a_lost_nudge_is_sent_again_behind_others(records: Records, client: redis.Redis, publisher: Publisher) -> None:
    for n in range(3):
        create(records, digest=f"sha256:{n}")
    assert rounds(records, publisher) == 3
    client.lpop(QUEUE)
    assert rounds(records, publisher) == 1


def test_the_job_of_a_dead_worker_is_told_of_while_others_wait(
    records: Records, client: redis.Redis, publisher: Publisher
) -> None:
    """Its message is gone; those in the queue are of others."""
    models = [create(records, digest=f"sha256:{n}") for n in range(3)]
    assert rounds(records, publisher) == 3
    client.rpop(QUEUE)
    assert records.claim(job(models[0])) is not None
    assert rounds(records, publisher) == 0, "somebody works on it"
    lapse(records, job(models[0]))
    assert rounds(records, publisher) == 1


def test_the_reaper_outlives_a_full_store(
    records: Records, client: redis.Redis, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapter.reaper.PERIOD_SECONDS", 0.02)
    due_jobs = records.due_jobs
    monkeypatch.setattr(records, "due_jobs", Mock(side_effect=[StoreFull("full"), *[[]] * 2, ["anna/mdl_x"]]))
    reaper = Reaper(records, publisher)
    reaper.start()
    until(lambda: client.llen(QUEUE) == 1)
    monkeypatch.setattr(records, "due_jobs", due_jobs)
    reaper.stop()


def test_jobs_of_an_hour_that_comes_again_are_due(records: Records) -> None:
    """The clock went back: what somebody must look at, and a lease, lie an hour ahead."""
    model_id = create(records)
    claim = records.claim(job(model_id))
    assert claim is not None
    records.client.hincrby(f"il:anna:model:{model_id}", "lease_ms", 3_600_000)
    records.client.zincrby(JOBS, 3_600_000, job(model_id))
    assert records.due_jobs() == [job(model_id)]
    heir = records.claim(job(model_id))
    assert heir is not None
    assert heir.attempt == 2
