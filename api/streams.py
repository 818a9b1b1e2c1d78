"""Follows a model's events as they happen: one blocking read of the Redis stream for each listener."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import cast

import redis
import redis.asyncio

from adapter.errors import BadInput
from adapter.events import Entry, Event
from adapter.redis_store import events_key

log = logging.getLogger("innerloop.streams")

BLOCK_MS = 2000
"""Between two looks at whether anything more can happen."""


class Streams:
    """Listeners of one API process."""

    def __init__(self, url: str) -> None:
        self._client = redis.asyncio.Redis.from_url(url, socket_timeout=10, health_check_interval=5)

    async def follow(
        self,
        owner: str,
        model_id: str,
        after: str | None,
        is_over: Callable[[], Awaitable[bool]],
        may_listen: Callable[[], Awaitable[bool]],
    ) -> AsyncGenerator[Event]:
        """Events after id `after`, kept ones first, until `is_over` says that nothing more will happen.

        Ends early once the listener may not listen any more, and where Redis does not answer: it comes back with the
        last id it has.
        """
        key, last = events_key(owner, model_id), after or "0"
        try:
            while True:
                over = await is_over()  # asked before reading: what is read then is all there is
                answer = await self._client.xread({key: last}, block=None if over else BLOCK_MS)
                if not await may_listen():  # asked after waiting: nothing is told that happened since it may not
                    return
                for _, entries in cast("list[tuple[bytes, list[Entry]]]", answer):
                    for entry in entries:
                        yield Event.read(entry)
                        last = entry[0].decode()
                if over:
                    return
        except BadInput:  # deleted or expired meanwhile
            return
        except redis.RedisError as error:
            log.warning("a listener of %s is sent away: %s", model_id, error)

    async def close(self) -> None:
        await self._client.aclose()
