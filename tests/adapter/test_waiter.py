"""A subscription that fell silent without a word is found out, and requests are woken again; it ends when told to."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from api import waiter
from api.waiter import Waiter


class Between:
    """What stands between the API and Redis, and forgets the first connection without a word."""

    def __init__(self, redis_url: str) -> None:
        self._socket = redis_url.removeprefix("unix://")
        self.connections = 0
        self.forgets = False
        self.carrying: list[asyncio.Task[Any]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        first = self.connections == 1
        there, back = await asyncio.open_unix_connection(self._socket)
        quietly = contextlib.suppress(asyncio.CancelledError, ConnectionError)
        with quietly, contextlib.closing(back), contextlib.closing(writer):
            self.carrying += [asyncio.create_task(self._carry(reader, back, first))]
            self.carrying += [asyncio.create_task(self._carry(there, writer, first))]
            await asyncio.gather(*self.carrying[-2:])

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, first: bool) -> None:
        while data := await source.read(4096):
            if not (first and self.forgets):
                target.write(data)
                await target.drain()
        target.close()


def test_a_silent_connection_is_renewed(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiter, "QUIET_SECONDS", 0.6)
    between = Between(redis_url)

    async def run() -> None:
        server = await asyncio.start_unix_server(between, tmp_path / "between")
        listening = Waiter(f"unix://{tmp_path / 'between'}")
        listening.start()
        with listening.expect("job") as woken:
            await asyncio.wait_for(woken.wait(), 10)  # as soon as it stands
            woken.clear()
            await asyncio.sleep(2)
            assert between.connections == 1, "an answer to every question is enough"
            between.forgets = True
            await asyncio.wait_for(woken.wait(), 10)
        await listening.stop()
        server.close()
        for task in between.carrying:
            task.cancel()
        await asyncio.gather(*between.carrying, return_exceptions=True)

    asyncio.run(asyncio.wait_for(run(), 30))
    assert between.connections == 2


@pytest.mark.parametrize("steps", [0, 4, 8, 14])
def test_it_stops_however_far_it_has_come(redis_url: str, steps: int) -> None:
    async def run() -> None:
        listening = Waiter(redis_url)
        listening.start()
        for _ in range(steps):
            await asyncio.sleep(0)
        _, late = await asyncio.wait([asyncio.create_task(listening.stop())], timeout=2)
        assert not late

    asyncio.run(run())
