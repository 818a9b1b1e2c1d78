"""Bodies that are too slow or too large, and requests that a stopping server cannot end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from adapter.config import Settings
from adapter.errors import TooLarge
from api.middleware import Boundary
from tests.asking import assert_problem

BYTES = 1024


async def counting(scope: Scope, receive: Receive, send: Send) -> None:
    """Says how long a body is."""
    await Response(str(len(await Request(scope, receive).body())))(scope, receive, send)


async def body(*pieces: bytes, pause: float = 0.0) -> AsyncGenerator[bytes]:
    for piece in pieces:
        await asyncio.sleep(pause)
        yield piece


def post(content: bytes | AsyncGenerator[bytes], app: ASGIApp = counting, seconds: float = 60) -> httpx.Response:
    settings = Settings(body_timeout_seconds=seconds, max_body_bytes=BYTES)

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(Boundary(app, settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/v1/models", content=content)

    return asyncio.run(asked())


def test_a_body_has_its_time_and_an_answer_its_own() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 1.5)  # as who waits for a client to leave
        await Response("late")(scope, receive, send)

    assert post(body(b"a", b"b", pause=0.01), slow, seconds=1).text == "late"


@pytest.mark.parametrize("pause", [0.1, 2])
def test_a_body_that_takes_too_long_is_refused(pause: float) -> None:
    """Though each of its pieces comes in time."""
    answer = post(body(*[b"a"] * 6, pause=pause), seconds=0.4)
    assert assert_problem(answer, 408, "body_timeout")["retryable"]
    assert answer.headers["retry-after"] == "1"


def test_as_many_bytes_as_may_be() -> None:
    for whole in (b"a" * BYTES, body(b"a" * (BYTES - 1), b"a")):
        assert post(whole).text == str(BYTES)
    for more in (b"a" * (BYTES + 1), body(b"a" * BYTES, b"a")):
        assert_problem(post(more), 413, "body_too_large")


def test_a_request_that_a_stopping_server_cannot_end_is_answered() -> None:
    async def stopped(scope: Scope, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    answer = post(b"", stopped)
    assert assert_problem(answer, 503, "stopping")["retryable"]
    assert answer.headers["retry-after"]


def test_an_answer_that_began_is_not_followed_by_another() -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await Request(scope, receive).body()

    with pytest.raises(TooLarge):
        post(body(b"a" * (BYTES + 1)), late)
