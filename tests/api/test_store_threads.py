"""Calls to a Redis that falls silent."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import redis

from api.store_threads import AT_A_TIME, StoreThreads


@pytest.mark.parametrize("error", [redis.TimeoutError, redis.ConnectionError])
def test_whoever_waits_for_a_thread_shares_the_silence(error: type[Exception]) -> None:
    """One after another each would wait as long as all before it together."""
    asked: list[int] = []
    together = threading.Barrier(AT_A_TIME + 1)

    def silent() -> None:
        asked.append(threading.get_ident())
        together.wait(30)
        raise error("no answer")

    async def ask() -> int:
        threads = StoreThreads("store")
        calls = asyncio.gather(*(threads.run(silent) for _ in range(10 * AT_A_TIME)), return_exceptions=True)
        await asyncio.sleep(0)  # all come before the first of them fails
        await asyncio.to_thread(together.wait, 30)
        found = await calls
        assert all(isinstance(one, redis.ConnectionError | redis.TimeoutError) for one in found)
        assert len(asked) == AT_A_TIME
        return await threads.run(lambda: 1)

    assert asyncio.run(ask()) == 1, "and the next one asks again"


def test_what_is_refused_is_refused_to_one_alone() -> None:
    def refused() -> None:
        time.sleep(0.01)
        raise redis.ResponseError("no")

    async def ask() -> list[object]:
        threads = StoreThreads("store")
        calls = [*(threads.run(refused) for _ in range(AT_A_TIME)), threads.run(lambda: 1)]
        return await asyncio.gather(*calls, return_exceptions=True)

    assert asyncio.run(ask())[-1] == 1
