"""Follows a model's events as they happen, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any

import httpx

from innerloop.client.events import EventReader, events_request
from innerloop.client.patience import Patient
from innerloop.client.steps import Request

SILENCE = 45.0
"""Seconds without a byte after which a connection is dead: the server says every 15 s that it is there."""


class _Listening:
    """What is known across connections.

    Attributes:
        attempt: connections in a row, before the present one, that brought nothing; -1 once that brought something.
    """

    def __init__(self, model_id: str, after: str | None) -> None:
        self._model_id, self._last = model_id, after
        self.attempt = 0
        self.request()

    def request(self) -> Request:
        """What the next connection asks.

        Raises:
            TypeError, ValueError: no id of a model, or of an event.
        """
        self._reader = EventReader()
        return events_request(self._model_id, self._last, "text/event-stream")

    def read(self, received: bytes) -> list[dict[str, Any]]:
        """The events that end in what the connection brought."""
        self.attempt = -1
        events = self._reader.read(received)
        if events:
            self._last = events[-1]["id"]
        return events


class _Following(Patient):
    def _streamed(self, request: Request) -> dict[str, Any]:
        return {**self._arguments(request), "timeout": httpx.Timeout(self._timeout, read=SILENCE)}


class Following(_Following):
    """The part of `Client` that follows."""

    _http: httpx.Client

    def follow(self, model_id: str, *, after: str | None = None) -> Generator[dict[str, Any]]:
        """Each event of a model, as `events` has them: those of before, then what happens, as it happens.

        Ends once nothing is adapted, neither a new model nor a version. A connection that breaks is made again and goes
        on after the last event: none comes twice.

        Args:
            model_id: of a model, whatever its status.
            after: `id` of the last event that is known already.

        Raises:
            TypeError, ValueError: no id of a model, or of an event.
            InnerloopHTTPError: refused, at the first event or later; `NotFound` where the model was deleted meanwhile.
            ServerUnreachable: nobody answers, or every connection ends before it brings anything.
        """
        return self._follow(_Listening(model_id, after))

    def _follow(self, listening: _Listening) -> Generator[dict[str, Any]]:
        while True:
            try:
                with self._http.stream(**self._streamed(listening.request())) as answer:
                    if answer.status_code == 204:
                        return
                    if is_stream(answer):
                        for received in answer.iter_bytes():
                            yield from listening.read(received)
                        pause = self._ended(listening.attempt)
                    else:
                        answer.read()
                        pause = self._after(listening.attempt, answer)
            except httpx.RequestError as error:
                pause = self._ended(listening.attempt, error)
            listening.attempt += 1
            time.sleep(pause)


class AsyncFollowing(_Following):
    """The part of `AsyncClient` that follows."""

    _http: httpx.AsyncClient

    def follow(self, model_id: str, *, after: str | None = None) -> AsyncGenerator[dict[str, Any]]:
        return self._follow(_Listening(model_id, after))

    follow.__doc__ = Following.follow.__doc__

    async def _follow(self, listening: _Listening) -> AsyncGenerator[dict[str, Any]]:
        while True:
            try:
                async with self._http.stream(**self._streamed(listening.request())) as answer:
                    if answer.status_code == 204:
                        return
                    if is_stream(answer):
                        async for received in answer.aiter_bytes():
                            for event in listening.read(received):
                                yield event
                        pause = self._ended(listening.attempt)
                    else:
                        await answer.aread()
                        pause = self._after(listening.attempt, answer)
            except httpx.RequestError as error:
                pause = self._ended(listening.attempt, error)
            listening.attempt += 1
            await asyncio.sleep(pause)


def is_stream(answer: httpx.Response) -> bool:
    """Whether events come; what else comes is an error, or something else behind the address."""
    return answer.is_success and answer.headers.get("Content-Type", "").startswith("text/event-stream")
