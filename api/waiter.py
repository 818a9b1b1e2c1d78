"""Wakes requests when their job ends: one Redis subscription for all of them, no polling."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import redis
import redis.asyncio

from adapter.store import DONE_CHANNEL

log = logging.getLogger("innerloop.waiter")

QUIET_SECONDS = 5.0
"""A subscription that was silent for so long is asked whether it is still one, and given as long to answer: what stands
between may have forgotten it without a word."""


class Waking(asyncio.Event):
    """Set whenever a job may have ended; `record` is that of `lua/finish.lua`, where it came along."""

    record: bytes = b""


class Waiter:
    """Requests register a job and sleep until it ends or the connection was renewed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: defaultdict[str, set[Waking]] = defaultdict(set)
        self._listener: asyncio.Task[None] | None = None
        self._lost = False
        self.stopping = False

    def start(self) -> None:
        self._listener = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        # Again until it ends: in Python 3.11 `asyncio.wait_for`, by which redis-py sends, loses a cancel that comes as
        # what it waits for is done (python/cpython#86296).
        while self._listener and not self._listener.done():
            self._listener.cancel()
            await asyncio.wait([self._listener], timeout=0.1)

    def let_go(self) -> None:
        """Wake everybody, now and from now on: this process is told to stop, and whoever waits is answered first."""
        self.stopping = True
        self._wake_all()

    @contextmanager
    def expect(self, job: str) -> Generator[Waking]:
        """An event set whenever `job` may have ended; where it brings no record, look."""
        event = Waking()
        if self.stopping:
            event.set()
        self._waiting[job].add(event)
        try:
            yield event
        finally:
            self._waiting[job].discard(event)
            if not self._waiting[job]:
                del self._waiting[job]

    async def _listen(self) -> None:
        while True:
            try:
                await self._subscribe()
            except (redis.RedisError, OSError) as error:
                if not self._lost:  # said once: tries come ten times a second, for as long as Redis is away
                    log.warning("subscription lost, renewing: %s", error)
                self._lost = True
                await asyncio.sleep(0.1)

    async def _subscribe(self) -> None:
        client = redis.asyncio.Redis.from_url(self._url, socket_timeout=QUIET_SECONDS)  # older clients have none
        async with client, client.pubsub() as subscription:
            await subscription.subscribe(DONE_CHANNEL)
            if self._lost:
                log.warning("subscription renewed")
                self._lost = False
            self._wake_all()  # whatever ended while nobody listened
            asked = False
            while True:
                message = cast("dict[str, Any] | None", await subscription.get_message(timeout=QUIET_SECONDS))
                if message is None and asked:
                    raise redis.ConnectionError(f"no answer for {QUIET_SECONDS:g} s")
                asked = message is None
                if message is None:
                    await subscription.ping()
                elif message["type"] == "message":
                    self._wake(message["data"])

    def _wake(self, message: bytes) -> None:
        job, _, record = message.partition(b"\n")
        for event in self._waiting.get(job.decode(), ()):
            event.record = record
            event.set()

    def _wake_all(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.set()
