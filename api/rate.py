"""Requests a minute for each key: a sliding window in Redis, and the headers that say what is left of it."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import redis
import redis.asyncio
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from adapter.errors import RateLimited
from adapter.keys import Key

WINDOW_SECONDS = 60


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
        self._pool = redis.asyncio.ConnectionPool.from_url(
            url,
            socket_timeout=3,
            socket_connect_timeout=3,
            health_check_interval=5,
            retry=Retry(ExponentialBackoff(cap=0.4, base=0.02), 8),
        )
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix="il:rate",
            connection_pool=self._pool,  # pyright: ignore[reportArgumentType]
        )
        self._limiter = SlidingWindowCounterRateLimiter(storage)  # pyright: ignore[reportArgumentType]

    async def hit(self, key: Key) -> tuple[bool, Rate | None]:
        """Count a request; whether it is within the limit, and what is left."""
        if key.quota.requests_per_minute is None:
            return True, None
        within = await self._limiter.hit(RateLimitItemPerMinute(key.quota.requests_per_minute), key.id)
        return within, await self.left(key)

    async def left(self, key: Key) -> Rate | None:
        """What is left, without counting."""
        limit = key.quota.requests_per_minute
        if limit is None:
            return None
        found = await self._limiter.get_window_stats(RateLimitItemPerMinute(limit), key.id)
        return Rate(limit, found.remaining, max(0.0, found.reset_time - time.time()))

    async def close(self) -> None:
        await self._pool.disconnect()


def refusal(key: Key, rate: Rate) -> RateLimited:
    """The error of a request beyond the limit."""
    return RateLimited(f"{key.id} may send {rate.limit} requests a minute", retry_after=rate.seconds)
