"""Threads for calls to one Redis, off the event loop."""

# pyright: reportMissingTypeStubs=false
# (redis-py has no complete types)

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import redis

T = TypeVar("T")

AT_A_TIME = 16


class StoreThreads:
    """Whoever waits for a thread while that Redis is found silent shares the failure: in turn each would wait as long
    as all before it."""

    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix=name)
        self._silent_at = -math.inf

    async def run(self, call: Callable[[], T]) -> T:
        """What `call` returns.

        Raises:
            redis.ConnectionError: it was not made, for another one before it had no answer.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, call, time.monotonic())

    def shutdown(self) -> None:
        self._threads.shutdown()

    def _ask(self, call: Callable[[], T], came: float) -> T:
        if came < self._silent_at:
            raise redis.ConnectionError("no answer to those that asked before")
        try:
            return call()
        except (redis.ConnectionError, redis.TimeoutError):
            self._silent_at = time.monotonic()
            raise
