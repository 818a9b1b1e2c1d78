"""Follows a model's events as they happen: one blocking read of the Redis stream for each listener."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import redis
import redis.asyncio

from adapter.errors import BadInput, StreamsFull, TooManyStreams
from adapter.events import Entry, Event
from adapter.redis_store import events_key
from api.files import files_allowed

log = logging.getLogger("innerloop.streams")

BLOCK_MS = 2000
"""Between two looks at whether anything more can happen."""

MAX_LISTENERS = 1000
"""Of one API process, where it may open files enough."""

SHARES = 4
"""No owner has more of them than one of so many equal ones."""

RETRY_SECONDS = 5

END_SECONDS = 2 * BLOCK_MS / 1000
"""A stream takes no longer to end by itself."""


class Streams:
    """Listeners of one API process."""

    def __init__(self, url: str) -> None:
        # Each listener is a connection, and holds one to Redis while it waits; half of the files are for others.
        self.most = min(MAX_LISTENERS, files_allowed() // 4)
        self.most_of_one = max(1, self.most // SHARES)
        self._listeners = Counter[str]()
        self._client = redis.asyncio.Redis.from_url(
            url, socket_timeout=10, health_check_interval=5, max_connections=self.most
        )
        self._stopping = False

    @asynccontextmanager
    async def place(self, owner: str) -> AsyncGenerator[None]:
        """Counts one more listener while it lasts; what the last one leaves is closed.

        Raises:
            TooManyStreams: the owner has its share.
            StreamsFull: all together have what there is.
        """
        if self._listeners[owner] >= self.most_of_one:
            told = f"{self.most_of_one} event streams of {owner} are open here already; close one"
            raise TooManyStreams(told, retry_after=RETRY_SECONDS)
        if self._listeners.total() >= self.most:
            raise StreamsFull(f"{self.most} event streams are open here already", retry_after=RETRY_SECONDS)
        self._listeners[owner] += 1
        try:
            yield
        finally:
            self._listeners -= Counter({owner: 1})
            if not self._listeners:
                await self._client.connection_pool.disconnect(inuse_connections=False)

    async def follow(
        self,
        owner: str,
        model_id: str,
        after: str | None,
        is_over: Callable[[], Awaitable[bool]],
        may_listen: Callable[[], Awaitable[bool]],
    ) -> AsyncGenerator[Event]:
        """Events after id `after`, kept ones first, until `is_over` says that nothing more will happen.

        Ends early once the listener may not listen any more, when the server is told to stop, and where Redis does not
        answer: it comes back with the last id it has.
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
                if over or self._stopping:
                    return
        except BadInput:  # deleted or expired meanwhile
            return
        except redis.RedisError as error:
            log.warning("a listener of %s is sent away: %s", model_id, error)

    def let_go(self) -> None:
        """End every stream at its next look: this process is told to stop."""
        self._stopping = True

    async def close(self) -> None:
        await self._client.aclose()
