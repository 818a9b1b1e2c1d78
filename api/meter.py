"""Counts what keys use in memory and writes it down every second: a request waits for no counter."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter

import redis

from adapter.keys import Key
from adapter.redis_store import now_ms
from adapter.usage import UsageStore
from api.metrics import Metrics

log = logging.getLogger("innerloop.meter")

PERIOD_SECONDS = 1.0
"""What a kill -9 of an API process may leave uncounted."""


class Meter:
    """Of one API process."""

    def __init__(self, store: UsageStore, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics
        self._predictions: Counter[Key] = Counter()
        self._used: dict[Key, int] = {}
        self._writer: asyncio.Task[None] | None = None

    def saw(self, key: Key) -> None:
        """The key was used."""
        self._used[key] = now_ms()

    def predicted(self, key: Key, meta_model: str, n: int) -> None:
        """So many inputs were classified for it."""
        self._predictions[key] += n
        self._metrics.predicted(meta_model, n)

    def start(self) -> None:
        self._writer = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._writer:
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer
        with contextlib.suppress(redis.RedisError):
            await self.write()

    async def write(self) -> None:
        """Everything counted so far; kept for the next time where Redis does not answer."""
        predictions, used = self._predictions, self._used
        if not (predictions or used):
            return
        self._predictions, self._used = Counter(), {}
        try:
            await asyncio.to_thread(self._store.add, predictions, used)
        except redis.RedisError:
            self._predictions += predictions
            self._used = {**used, **self._used}
            raise

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            try:
                await self.write()
            except redis.RedisError as error:
                log.warning("usage could not be written down: %s", error)
