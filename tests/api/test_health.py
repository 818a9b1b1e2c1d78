"""`/readyz` says which part is missing, and of no other that it is, soon and however many ask."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any
from unittest.mock import Mock

import pytest
import redis

from adapter.config import Settings
from adapter.redis_store import connect
from api.readiness import Readiness


@pytest.mark.parametrize("away", ["records", "weights", "worker"])
def test_each_part_is_asked_by_itself(away: str) -> None:
    readiness: Any = Readiness(Settings(redis_url="redis://127.0.0.1:1/0"))
    readiness._records, readiness._weights = Mock(), Mock()
    readiness._records.room().workers = 0 if away == "worker" else 1
    absent = {"records": readiness._records.client, "weights": readiness._weights}
    if away != "worker":
        absent[away].ping.side_effect = redis.ConnectionError("nobody there")
    checks = asyncio.run(readiness.checks())
    assert checks == {name: name != away for name in ("records", "weights", "worker")}


def test_a_server_that_takes_connections_and_does_not_answer_costs_one_look() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        readiness = Readiness(Settings(redis_url=url))

        async def ask() -> list[dict[str, bool]]:
            return await asyncio.gather(*(readiness.checks() for _ in range(20)))

        began = time.monotonic()
        assert asyncio.run(ask()) == [{"records": False, "weights": False, "worker": False}] * 20
        assert time.monotonic() - began < 12  # three parts of a second or two, not twenty times


def test_tries_end_where_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connect(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", timeout=1)
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        assert time.monotonic() - began < 9  # five seconds and the last try; nine tries would be more
