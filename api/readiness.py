"""Whether the parts that this process needs answer: one look at a time, whoever asks meanwhile shares it."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import redis

from adapter.config import Settings
from adapter.errors import StoreFull
from adapter.redis_store import connect_once
from adapter.store import Records


class Readiness:
    """Has connections and threads of its own: nobody else waits for a part that does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._records = Records(connect_once(settings.records_url), settings)
        self._weights = connect_once(settings.weights_url)
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="readiness")
        self._looking: asyncio.Future[dict[str, bool]] | None = None

    async def checks(self) -> dict[str, bool]:
        """By the name of the part."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().run_in_executor(self._threads, self._look)
        return await asyncio.shield(self._looking)

    def close(self) -> None:
        self._threads.shutdown()

    def _look(self) -> dict[str, bool]:
        asked: dict[str, Callable[[], bool]] = {
            "records": lambda: bool(self._records.client.ping()),
            "weights": lambda: bool(self._weights.ping()),
            "worker": lambda: self._records.room().workers > 0,
        }
        found = dict.fromkeys(asked, False)
        for name, ask in asked.items():
            with suppress(redis.RedisError, StoreFull):
                found[name] = ask()
        return found
