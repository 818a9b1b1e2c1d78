"""A real Redis for the store's tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from adapter.config import Settings
from adapter.store import Records, connect
from innerloop.embedded import redis_server
from tests.faults.victim import until


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("redis")
    socket = folder / "redis.sock"
    command = [redis_server(), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        until(socket.exists)
        yield f"unix://{socket}"
        process.terminate()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def records(client: redis.Redis) -> Records:
    return Records(client, Settings(lease_seconds=60, max_queued_jobs=5))
