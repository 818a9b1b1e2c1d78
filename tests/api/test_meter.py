"""What keys used is counted once: also where Redis does not answer for a while, and at the end."""

from __future__ import annotations

import asyncio
import threading
from unittest.mock import Mock

import pytest
import redis

from adapter.keys import LOCAL, Key
from adapter.usage import UsageStore
from api.meter import Meter


@pytest.fixture
def store() -> Mock:
    return Mock(spec=UsageStore)


def test_what_could_not_be_written_down_goes_with_the_next(store: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add.side_effect = [redis.ConnectionError("away"), None]
    meter, at = Meter(store, Mock()), iter((1, 2))
    monkeypatch.setattr("api.meter.now_ms", lambda: next(at))

    async def use(n: int) -> None:
        meter.saw(LOCAL)
        meter.predicted(LOCAL, "m@1", n)
        await meter.write()

    with pytest.raises(redis.ConnectionError):
        asyncio.run(use(3))
    asyncio.run(use(4))
    predictions, used = store.add.call_args.args
    assert (predictions, used) == ({LOCAL: 7}, {LOCAL: 2})
    asyncio.run(meter.write())
    assert store.add.call_count == 2, "there is nothing more to write"


def test_what_is_left_at_the_end_is_written_down(store: Mock) -> None:
    async def run() -> None:
        meter = Meter(store, Mock())
        meter.start()
        meter.predicted(LOCAL, "m@1", 3)
        await meter.stop()

    asyncio.run(run())
    store.add.assert_called_once_with({LOCAL: 3}, {})


def test_a_writer_that_failed_tries_again(store: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.meter.PERIOD_SECONDS", 0.001)
    written = threading.Event()

    def add(predictions: dict[Key, int], used: dict[Key, int]) -> None:
        assert predictions == {LOCAL: 3}
        if store.add.call_count == 1:
            raise redis.ConnectionError("away")
        written.set()

    store.add.side_effect = add

    async def run() -> None:
        meter = Meter(store, Mock())
        meter.predicted(LOCAL, "m@1", 3)
        meter.start()
        assert await asyncio.to_thread(written.wait, 5)
        await meter.stop()

    asyncio.run(run())
    assert store.add.call_count == 2
