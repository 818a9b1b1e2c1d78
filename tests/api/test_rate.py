"""The rate limiter on a real Redis: one question a request, and what it says is left is what the library says."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest
import redis
import redis.asyncio
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from adapter.keys import Key, Quota
from adapter.store import connect
from api.rate import RateLimiter
from innerloop.embedded import Embedded, records_url


@pytest.fixture
def url(server: Embedded) -> str:
    return records_url(server.settings)


@pytest.fixture
def key(url: str, request: pytest.FixtureRequest) -> Iterator[Key]:
    """May ask ten times a minute; forgotten afterwards."""
    made = Key(id=f"key_{request.node.originalname}", owner="anna", quota=Quota(requests_per_minute=10))
    yield made
    with connect(url) as client:
        client.delete(*client.keys(f"il:rate:*{made.id}*"))


def windows(client: redis.Redis, key: Key) -> tuple[str, str]:
    """Where the library keeps the window before and the current one."""
    now = f"il:rate:{{{RateLimitItemPerMinute(10).key_for(key.id)}}}"
    return f"{now}/-1", now


def test_a_request_is_one_question(url: str, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    send = redis.asyncio.connection.AbstractConnection.send_packed_command

    async def noted(self: object, *args: object, **kwargs: object) -> None:
        sent.append(args)
        await send(self, *args, **kwargs)  # type: ignore[arg-type]

    async def ask() -> list[int]:
        limiter = RateLimiter(url)
        left: list[int] = []
        await limiter.left(key)  # connected
        await limiter.hit(key)  # the script is there
        monkeypatch.setattr(redis.asyncio.connection.AbstractConnection, "send_packed_command", noted)
        for _ in range(3):
            within, rate = await limiter.hit(key)
            assert within
            assert rate is not None
            left.append(rate.remaining)
        await limiter.close()
        return left

    assert asyncio.run(ask()) == [8, 7, 6]
    assert len(sent) == 3


@pytest.mark.parametrize(
    ("before", "before_ms", "now", "now_ms"),
    [  # whole hits count: seconds away from where what the minute before weighs falls to the next one
        (0, 0, 0, 0),
        (0, 0, 3, 90_000),
        (8, 34_000, 2, 94_000),
        (9, 59_000, 0, 119_000),
        (10, 4_000, 10, 64_000),
    ],
)
def test_what_is_left_is_what_the_library_says(
    url: str, key: Key, before: int, before_ms: int, now: int, now_ms: int
) -> None:
    item = RateLimitItemPerMinute(10)

    async def ask() -> None:
        pool = redis.asyncio.ConnectionPool.from_url(url)
        storage = RedisStorage("async+redis://", implementation="redispy", key_prefix="il:rate", connection_pool=pool)
        library, limiter = SlidingWindowCounterRateLimiter(storage), RateLimiter(url)
        for hit in (False, True):
            with connect(url) as client:
                for name, n, left_ms in zip(windows(client, key), (before, now), (before_ms, now_ms), strict=True):
                    client.delete(name)
                    if left_ms:
                        client.set(name, n, px=left_ms)
            began = time.time()
            wanted = await library.test(item, key.id)
            within, rate = await limiter.hit(key) if hit else (wanted, await limiter.left(key))
            assert within == wanted
            assert rate is not None
            stats = await library.get_window_stats(item, key.id)
            assert abs(rate.remaining - stats.remaining) <= (1 if before else 0)  # time went on in between
            ended = time.time()  # both looked in between
            apart = abs(rate.seconds - (stats.reset_time - ended)) % 60
            # Where the library says 0 of a whole minute, 60 is said here.
            assert min(apart, 60 - apart) < 0.2 + ended - began
        await limiter.close()
        await pool.disconnect()

    asyncio.run(ask())


def test_the_minute_before_still_counts(url: str, key: Key) -> None:
    async def ask() -> list[bool]:
        limiter = RateLimiter(url)
        with connect(url) as client:
            before, now = windows(client, key)
            client.set(before, 10, px=30_000)  # half of it is within the last minute
            client.set(now, 0, px=90_000)
        found = [(await limiter.hit(key))[0] for _ in range(7)]
        await limiter.close()
        return found

    found = asyncio.run(ask())
    assert found[:5] == [True] * 5
    assert not found[6]


def test_a_silent_redis_is_not_waited_for_again_and_again() -> None:
    """Each of its tries has its own time, and there are many."""
    key = Key(id="key_silent", owner="anna", quota=Quota(requests_per_minute=10))

    async def ask(port: int) -> None:
        limiter = RateLimiter(f"redis://127.0.0.1:{port}/0")
        for ask in (limiter.hit, limiter.left):
            with pytest.raises(redis.TimeoutError):
                await ask(key)
        await limiter.close()

    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        asyncio.run(asyncio.wait_for(ask(silent.getsockname()[1]), 30))
    assert time.monotonic() - began < 12
