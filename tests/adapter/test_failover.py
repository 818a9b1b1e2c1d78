"""Another Redis became the master behind the same address, and the old one lives on, reading only: whoever is connected
to it notices by what it refuses, and connects anew."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import redis

from adapter.config import Settings
from adapter.errors import Unauthorized
from adapter.keys import LOCAL, KeyStore, Quota
from adapter.queue import Publisher
from adapter.redis_store import QUEUE
from adapter.store import Records, Weights, connect
from api.keyring import FRESH_SECONDS, Keyring
from api.rate import RateLimiter
from innerloop.embedded import redis_server
from tests.faults.victim import until


@dataclass
class Pair:
    """The address, and who listens there: first `old`, after `fail_over` `new`."""

    address: Path
    old: redis.Redis
    new: redis.Redis

    @property
    def url(self) -> str:
        return f"unix://{self.address}"

    def fail_over(self) -> None:
        self.address.unlink()
        self.address.symlink_to(self.address.with_name("new.sock"))
        self.old.replicaof("127.0.0.1", "1")


@contextmanager
def serving(socket: Path) -> Generator[redis.Redis]:
    command = [redis_server(), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(socket.parent)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        until(socket.exists)
        yield connect(f"unix://{socket}")
        process.terminate()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    address = tmp_path / "redis.sock"
    address.symlink_to(tmp_path / "old.sock")
    with serving(tmp_path / "old.sock") as old, serving(tmp_path / "new.sock") as new:
        yield Pair(address, old, new)


def test_records(pair: Pair) -> None:
    records = Records(connect(pair.url), Settings())
    records.beat("one")
    pair.fail_over()
    with suppress(redis.ResponseError):  # of a script this one is told, and the next is not
        records.beat("one")
    records.beat("one")
    assert pair.new.exists("il:worker:one")


def test_weights(pair: Pair) -> None:
    weights = Weights(connect(pair.url))
    weights.put("anna", "sha256:1", {"w": np.zeros(1, np.float32)}, 60_000, "files")
    pair.fail_over()
    weights.put("anna", "sha256:2", {"w": np.zeros(1, np.float32)}, 60_000, "files")
    assert weights.has("anna", "sha256:2")
    assert pair.new.dbsize() == 1


def test_nudges(pair: Pair) -> None:
    publisher = Publisher(pair.url)
    assert publisher.nudge("local/mdl_1")
    pair.fail_over()
    assert publisher.nudge("local/mdl_2")
    publisher.close()
    assert pair.new.llen(QUEUE) == 1


def test_rates(pair: Pair) -> None:
    key = LOCAL.model_copy(update={"quota": Quota(requests_per_minute=10)})

    async def ask() -> bool:
        rate = RateLimiter(pair.url)
        await rate.hit(key)
        pair.fail_over()
        with suppress(redis.ResponseError):
            await rate.hit(key)
        within, _ = await rate.hit(key)
        await rate.close()
        return within

    assert asyncio.run(ask())
    assert pair.new.dbsize() == 1


def test_keys(pair: Pair) -> None:
    """The new master lacks the latest key, and another one is made there before anybody looks."""
    keys = KeyStore(connect(pair.url))
    keyring = Keyring(Settings(), keys)
    _, lost = keys.create("anna")
    assert asyncio.run(keyring.holder(lost)).owner == "anna"
    pair.fail_over()
    _, made = KeyStore(pair.new).create("bert")
    time.sleep(FRESH_SECONDS)
    keys.client.connection_pool.disconnect()
    assert asyncio.run(keyring.holder(made)).owner == "bert"
    with pytest.raises(Unauthorized):
        asyncio.run(keyring.holder(lost))


def test_a_worker_goes_on(pair: Pair) -> None:
    environment = {**os.environ, "INNERLOOP_REDIS_URL": pair.url, "INNERLOOP_LEASE_SECONDS": "1"}  # noqa: TID251
    command = [sys.executable, "-m", "innerloop", "worker"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as worker:
        try:
            until(lambda: bool(pair.old.keys("il:worker:*")))
            assert Publisher(pair.url).nudge("local/mdl_1")
            until(lambda: not pair.old.llen(QUEUE))  # it waits for the next message
            pair.fail_over()
            assert Publisher(pair.url).nudge("local/mdl_2")
            until(lambda: bool(pair.new.keys("il:worker:*")))
            until(lambda: not pair.new.llen(QUEUE))
            assert worker.poll() is None
        finally:
            worker.terminate()
