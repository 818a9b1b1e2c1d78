"""An API process's copy of the API keys."""

from __future__ import annotations

import asyncio
import time

from adapter.config import Settings
from adapter.errors import Unauthorized
from adapter.keys import LOCAL, Key, KeyCopy, KeyStore, keys_of_settings
from adapter.redis_store import now_ms

FRESH_SECONDS = 0.5
"""How old the copy may be: half as long as a revocation may take."""

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class Keyring:
    """Knows who holds a key: one small look at Redis in each `FRESH_SECONDS`, however many requests."""

    def __init__(self, settings: Settings, store: KeyStore) -> None:
        """Raises ValueError where `INNERLOOP_API_KEYS` is malformed."""
        self._fixed = keys_of_settings(settings.api_keys)
        self._is_public = settings.host not in LOOPBACK
        self._store = store
        self._copy = KeyCopy(-1, {})
        self._fresh_until = 0.0
        self._refreshing: asyncio.Task[None] | None = None

    async def holder(self, text: str | None) -> Key:
        """The key that is `text`.

        Raises:
            Unauthorized: none was sent where one is wanted, or it is unknown, expired or revoked.
        """
        copy = await self._fresh()
        if not (self._fixed or copy.keys):
            if not self._is_public:
                return LOCAL
            raise Unauthorized("this server has no API keys yet; its operator makes one with `innerloop keys create`")
        if not text:
            raise Unauthorized("send Authorization: Bearer <key>")
        # Of the fixed ones every one is compared, each in constant time.
        found = copy.find(text) or next((key for key in [k for k in self._fixed if k.opens_with(text)]), None)
        if found is None:
            if text.lower().startswith("bearer "):  # as pages and programs send it that write the word themselves
                raise Unauthorized("this API key is not known: it begins with 'Bearer'; give the key alone, il_…")
            raise Unauthorized("this API key is not known")
        if not found.is_valid(now_ms()):
            raise Unauthorized(f"API key {found.id} has been revoked or has expired")
        return found

    async def still_opens(self, key: Key) -> bool:
        """Whether what `holder` gave may go on: for requests that last."""
        copy = await self._fresh()
        if key == LOCAL:
            return not (self._fixed or copy.keys)
        if key in self._fixed:
            return True
        found = copy.keys.get(key.id)
        return found is not None and found.is_valid(now_ms())

    async def _fresh(self) -> KeyCopy:
        if time.monotonic() < self._fresh_until:
            return self._copy
        # Whoever comes meanwhile shares the one look, and its failure: in turn each would wait for one of its own.
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh())
        await asyncio.shield(self._refreshing)
        return self._copy

    async def _refresh(self) -> None:
        began = time.monotonic()
        self._copy = await asyncio.to_thread(self._newest)
        self._fresh_until = began + FRESH_SECONDS

    def _newest(self) -> KeyCopy:
        return self._copy if self._store.changes() == self._copy.changes else self._store.copy()
