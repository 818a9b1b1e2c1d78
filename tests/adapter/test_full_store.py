"""A real Redis that has no more memory, or cannot write: what needs room is refused, everything else goes on."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
import redis

from adapter import celery_worker, redis_store
from adapter.admission import WORKERS, Room
from adapter.config import RECORDS_LINK, Settings
from adapter.errors import NotFound, StoreFull
from adapter.keys import Key, Quota
from adapter.models import JobError
from adapter.redis_store import OWNERS
from adapter.store import JOBS, Records
from api.rate import RateLimiter
from api.readiness import Readiness
from tests.adapter.test_store import create, job
from tests.faults.victim import until


@pytest.fixture
def full(client: redis.Redis) -> Iterator[Callable[[], None]]:
    """Let no more memory be used."""
    yield lambda: client.config_set("maxmemory", 1)
    client.config_set("maxmemory", 0)


@pytest.fixture
def full_disk(client: redis.Redis, redis_url: str) -> Iterator[Callable[[], None]]:
    """Redis refuses to write, as where its disk is full, until this is called."""
    in_its_place = Path(redis_url.removeprefix("unix://")).parent / "dump.rdb"
    in_its_place.mkdir()
    client.bgsave()
    until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    in_its_place.rmdir()
    client.config_set("save", "3600 1")  # only who saves is told that it does not work
    yield lambda: client.config_set("save", "")
    client.config_set("save", "")


def test_a_full_store_refuses(records: Records, client: redis.Redis) -> None:
    used = client.info("memory")["used_memory"]
    try:
        client.config_set("maxmemory", used)
        with pytest.raises(StoreFull):
            create(records)
    finally:
        client.config_set("maxmemory", 0)


def test_what_is_there_already_needs_no_room(
    records: Records, full: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model_id = create(records)
    full()
    assert create(records) == model_id
    with pytest.raises(StoreFull):
        create(records, digest="sha256:2")
    room = Mock(return_value=Room(workers=1, memory=10, most_memory=10))
    monkeypatch.setattr(records, "room", room)
    records._found = None
    assert create(records) == model_id


def test_a_full_store_lets_go_of_models(records: Records, full: Callable[[], None]) -> None:
    model_id = create(records)
    full()
    assert records.delete("anna", model_id) == {"wsha256:1"}
    with pytest.raises(NotFound):
        records.delete("anna", model_id)


def test_a_full_store_says_what_is_kept_once_models_have_expired(
    records: Records, client: redis.Redis, full: Callable[[], None]
) -> None:
    over, there = create(records), create(records, digest="sha256:2")
    client.zadd("il:anna:stored", {over: 1})
    size = int(client.hget("il:anna:sizes", there) or 0)
    full()
    assert records.stored("anna") == (1, size)


def test_a_full_store_still_knows_who_lives_and_heals(records: Records, full: Callable[[], None]) -> None:
    full()
    records.beat("host:1")
    assert records.room().workers == 1
    assert records.lock("reaper", 60)
    assert not records.lock("reaper", 60)


def test_a_key_with_a_rate_may_ask_a_full_store(client: redis.Redis, redis_url: str, full: Callable[[], None]) -> None:
    """Where requests cannot be counted, models can still be asked, and deleted."""
    key = Key(id="key_full", owner="anna", quota=Quota(requests_per_minute=1))

    async def ask() -> list[object]:
        limiter = RateLimiter(redis_url)
        found = [await limiter.hit(key) for _ in range(2)]
        await limiter.close()
        return found

    full()
    assert asyncio.run(ask()) == [(True, None)] * 2


def test_what_redis_says_of_room_is_understood() -> None:
    within_a_script = "Error running script (call to f_9): @user_script:1: -OOM command not allowed when used memory"
    for words in (within_a_script, "MISCONF Errors writing to the AOF file: No space left on device"):
        assert redis_store.full(redis.ResponseError(words))
    assert redis_store.full(redis.ResponseError("WRONGTYPE")) is None


def test_a_job_goes_on_and_ends_in_a_full_store(records: Records, client: redis.Redis) -> None:
    """A lease that ran out, or an attempt that counted, would be the store's fault."""
    claims = [records.claim(job(create(records, digest=f"sha256:{n}"))) for n in range(3)]
    client.config_set("maxmemory", 1)
    try:
        for claim in claims:
            assert claim is not None
            claim.steps.add(1, 0.5)
            assert records.extend(claim)
        postponed, finished, failed = claims
        assert postponed is not None
        assert finished is not None
        assert failed is not None
        assert records.postpone(postponed)
        assert records.finish(finished, 1)
        assert records.fail(failed, JobError("x", "y"))
    finally:
        client.config_set("maxmemory", 0)
    assert client.zrange(JOBS, 0, -1) == [postponed.job.encode()]
    again = records.claim(postponed.job)
    assert again is not None
    assert again.attempt == 1


def test_a_job_is_handed_out_and_claimed_in_a_full_store(records: Records, full: Callable[[], None]) -> None:
    model_id = create(records)
    time.sleep(0.01)
    records.client.zadd(JOBS, {job(model_id): 0})
    full()
    assert records.due_jobs() == [job(model_id)]
    assert records.claim(job(model_id)) is not None


def test_a_disk_that_is_nearly_full_takes_no_model_more(
    client: redis.Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the Redis that `innerloop serve` runs; what is there already is found."""
    ours, other = (Records(client, Settings(redis_url=redis_url, data_dir=tmp_path / name)) for name in "ab")
    (tmp_path / "a" / "records").mkdir(parents=True)
    (tmp_path / "a" / RECORDS_LINK).symlink_to(redis_url.removeprefix("unix://"))
    disk = Mock(total=1000, free=50 + len(b"support"))
    monkeypatch.setattr("adapter.admission.disk_usage", lambda _: disk)
    model_id = create(ours)
    disk.free -= 1
    assert create(ours) == model_id
    with pytest.raises(StoreFull, match="disk"):
        create(ours, digest="sha256:2")
    assert create(other, digest="sha256:2")


def test_a_worker_says_that_it_lives_again_once_the_disk_has_room(
    records: Records, full_disk: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreFull):
        records.beat("host:1")
    pauses = iter([full_disk, sys.exit])
    monkeypatch.setattr(celery_worker, "time", Mock(sleep=lambda _: next(pauses)()))
    with pytest.raises(SystemExit):
        celery_worker._beat(records)
    assert records.room().workers == 1


def test_a_full_disk_still_tells_who_lives_and_what_is_kept(
    records: Records, client: redis.Redis, redis_url: str, full_disk: Callable[[], None]
) -> None:
    """What is over, and the name that a killed worker left, cannot be taken away there."""
    full_disk()
    records.beat("host:1")
    client.sadd(WORKERS, "killed:1")
    create(records)
    client.zadd("il:anna:stored", {"over": 1})
    client.sadd(OWNERS, "bert")
    client.config_set("save", "3600 1")
    assert records.room().workers == 1
    assert asyncio.run(Readiness(Settings(redis_url=redis_url)).checks())["worker"]
    assert records.totals().models == 1
