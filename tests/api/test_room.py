"""Large bodies are read a few at a time; whoever comes meanwhile waits a little, then is told to come again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapter.config import Settings
from api import room
from api.middleware import Boundary
from tests.asking import assert_problem

MOST = 4 * room.LARGE
LARGE, SMALL = b"x" * MOST, b"x" * 1000


class Reader:
    """An application that reads the body and answers its length once it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.read = asyncio.Semaphore(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        self.read.release()
        if len(body) > room.LARGE:
            await self.may_answer.wait()
        if scope["path"] == "/broken":
            raise ConnectionError
        await Response(str(len(body)))(scope, receive, send)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.setattr(room, "WAIT_SECONDS", 0.05)
    return Reader()


def client(reader: Reader) -> httpx.AsyncClient:
    app = Boundary(reader, Settings(max_body_bytes=MOST))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://test")


async def until_read(reader: Reader, n: int) -> None:
    async with asyncio.timeout(10):
        for _ in range(n):
            await reader.read.acquire()


async def in_chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 2**16):
        yield body[start : start + 2**16]


def test_large_bodies_are_read_a_few_at_a_time(reader: Reader) -> None:
    async def go() -> None:
        async with client(reader) as http:
            first = [asyncio.create_task(http.post("/", content=LARGE)) for _ in range(room.LARGEST_AT_ONCE)]
            await until_read(reader, len(first))
            refused = assert_problem(await http.post("/", content=LARGE), 503, "uploads_full")
            assert refused["retryable"]
            assert_problem(await http.post("/", content=in_chunks(LARGE)), 503, "uploads_full")
            assert (await http.post("/", content=SMALL)).text == "1000"
            assert (await http.post("/", content=in_chunks(SMALL))).text == "1000"

            room.WAIT_SECONDS = 10.0
            waiting = asyncio.create_task(http.post("/", content=LARGE))
            await asyncio.sleep(0.01)
            reader.may_answer.set()
            assert [answer.text for answer in await asyncio.gather(*first, waiting)] == [str(MOST)] * 4

    asyncio.run(go())


@pytest.mark.parametrize("path", ["/", "/broken"])
def test_an_answered_body_leaves_its_room(reader: Reader, path: str) -> None:
    async def go() -> None:
        reader.may_answer.set()
        async with client(reader) as http:
            for _ in range(2 * room.LARGEST_AT_ONCE):
                answer = await http.post(path, content=in_chunks(LARGE))
            assert answer.status_code == (200 if path == "/" else 500)

    asyncio.run(go())


def test_smaller_ones_share_the_room(reader: Reader) -> None:
    async def go() -> None:
        async with client(reader) as http:
            body = LARGE[: MOST // 2]
            together = [asyncio.create_task(http.post("/", content=body)) for _ in range(2 * room.LARGEST_AT_ONCE)]
            await until_read(reader, len(together))
            reader.may_answer.set()
            assert {answer.status_code for answer in await asyncio.gather(*together)} == {200}

    asyncio.run(go())
