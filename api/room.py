"""What large request bodies may take together: while one is read it is in memory several times over."""

from __future__ import annotations

import asyncio

from adapter.errors import UploadsFull

LARGE = 2**20
"""Bytes from which on a body is counted."""
LARGEST_AT_ONCE = 3
"""Bodies of the largest size that are read at a time."""
WAIT_SECONDS = 3.0
"""Less than clients allow a pause while they send: five seconds, those made with httpx."""
RETRY_SECONDS = 5


class Room:
    """Of `most` bytes in one process; who comes first is served first."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._turn = asyncio.Lock()
        self._given = asyncio.Event()

    async def take(self, n: int) -> None:
        """Wait for `n` bytes, which are to be given back.

        Raises:
            UploadsFull: others do not end soon enough.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS), self._turn:
                while self._left < n:
                    self._given.clear()
                    await self._given.wait()
                self._left -= n
        except TimeoutError as error:
            raise UploadsFull("other large bodies are being read; send it again", retry_after=RETRY_SECONDS) from error

    def give(self, n: int) -> None:
        self._left += n
        self._given.set()
