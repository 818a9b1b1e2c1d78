"""Requests a minute for each key: a sliding window in Redis, and the headers that say what is left of it."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

import redis
import redis.asyncio
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from adapter.errors import RateLimited
from adapter.keys import Key
from adapter.redis_store import full, only_reads

T = TypeVar("T")

WINDOW_SECONDS = 60

ANSWER_SECONDS = 5.0
"""So long a request waits for what Redis says of its key, all tries together."""

Window = tuple[int, float, int, float]
"""Requests in the window before and the seconds until it is forgotten; the same of the current one."""


@dataclass(frozen=True)
class Rate:
    """What is left of a key's requests: `remaining` of `limit`, and more in `seconds`."""

    limit: int
    remaining: int
    seconds: float

    @property
    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers-10 writes it."""
        return {
            "RateLimit-Policy": f'"requests";q={self.limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"requests";r={self.remaining};t={math.ceil(self.seconds)}',
        }


class RateLimiter:
    """Shared by all API processes through Redis. Keys without a limit cost nothing."""

    def __init__(self, url: str) -> None:
        self._pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=100,
            timeout=5,
            socket_timeout=3,
            socket_connect_timeout=3,
            health_check_interval=5,
            retry=Retry(ExponentialBackoff(cap=0.4, base=0.02), 8),
        )
        self._storage = _Storage(
            "async+redis://",
            implementation="redispy",
            key_prefix="il:rate",
            connection_pool=self._pool,  # pyright: ignore[reportArgumentType]
        )

    async def hit(self, key: Key) -> tuple[bool, Rate | None]:
        """Count a request; whether it is within the limit, and what is left."""
        limit = key.quota.requests_per_minute
        if limit is None:
            return True, None
        try:
            within, window = await _soon(self._storage.acquire_and_look(_name(key, limit), limit, WINDOW_SECONDS))
        except redis.ResponseError as error:
            if full(error):  # where nothing can be counted, models can still be asked, and deleted
                return True, None
            if only_reads(error):
                await self._pool.disconnect(inuse_connections=False)
            raise
        return within, _left(limit, window)

    async def left(self, key: Key) -> Rate | None:
        """What is left, without counting."""
        limit = key.quota.requests_per_minute
        if limit is None:
            return None
        return _left(limit, await _soon(self._storage.get_sliding_window(_name(key, limit), WINDOW_SECONDS)))

    async def close(self) -> None:
        await self._pool.disconnect()


class _Storage(RedisStorage):
    """The library's storage, whose two scripts run as one: it asks for a hit and for the window one after the other."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        acquire, look = self.bridge.SCRIPT_ACQUIRE_SLIDING_WINDOW.decode(), self.bridge.SCRIPT_SLIDING_WINDOW.decode()
        both = f"""
            local function acquire(ARGV) {acquire} end
            local function look(ARGV) {look} end
            local acquired = acquire(ARGV)
            return {{acquired and 1 or 0, look({{ARGV[2]}})}}
        """
        self._both = redis.asyncio.Redis(connection_pool=kwargs["connection_pool"]).register_script(both)

    async def acquire_and_look(self, name: str, limit: int, expiry: int) -> tuple[bool, Window]:
        """Count one where the limit allows it; the window afterwards, as `get_sliding_window` has it."""
        keys = [self.bridge.prefixed_key(key(name)) for key in (self._previous_window_key, self._current_window_key)]
        acquired, window = await self._both(keys, [limit, expiry, 1])
        before, before_ms, now, now_ms = (max(0, int(n or 0)) for n in window)
        return bool(acquired), (before, before_ms / 1000, now, now_ms / 1000)


async def _soon(asked: Awaitable[T]) -> T:
    """Raises redis.TimeoutError where the tries, each of which has its own time, take too long together."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await asked
    except TimeoutError as error:
        raise redis.TimeoutError(f"no answer for {ANSWER_SECONDS:g} s") from error


def _name(key: Key, limit: int) -> str:
    return RateLimitItemPerMinute(limit).key_for(key.id)


def _left(limit: int, window: Window) -> Rate:
    """The window before counts by the share of it that the last minute still covers.

    So one more is free when a whole request of it has left that minute, or when the current window is the one before.
    """
    before, before_seconds, now, now_seconds = window
    used = math.floor(before * before_seconds / WINDOW_SECONDS + now)
    waits = [before_seconds % (WINDOW_SECONDS / before)] if before else []
    waits += [max(0.0, now_seconds - WINDOW_SECONDS)] if now else []
    return Rate(limit, max(0, limit - used), min(waits, default=0.0))


def refusal(key: Key, rate: Rate) -> RateLimited:
    """The error of a request beyond the limit."""
    return RateLimited(f"{key.id} may send {rate.limit} requests a minute", retry_after=rate.seconds)
