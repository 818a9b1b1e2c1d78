"""Listeners are bounded, together and by owner, leave no connections behind, and the API may open files enough."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import AsyncExitStack

import httpx
import pytest
import uvicorn

from adapter.config import Settings
from adapter.errors import StreamsFull, TooManyStreams
from adapter.store import connect
from api import streams
from api.app import create_app
from api.streams import Streams
from innerloop.cli.server import api
from innerloop.embedded import Embedded, records_url
from tests.asking import adapt, assert_problem, drawn


@pytest.fixture
def few_files() -> Iterator[int]:
    """As a login shell has it: a low limit, that may be raised; yields the higher one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_api_may_open_more_files_than_a_shell(few_files: int, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[int] = []
    monkeypatch.setenv("INNERLOOP_REDIS_URL", "redis://localhost:1")
    monkeypatch.setattr(uvicorn, "run", lambda *_, **__: allowed.append(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    api()
    assert allowed == [min(few_files, 65_536)]


def test_one_owner_has_a_share_of_the_listeners(server: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "files_allowed", lambda: 32)

    async def run() -> None:
        listening = Streams(records_url(server.settings))
        async with AsyncExitStack() as places:
            for owner in range(4):
                for _ in range(2):
                    await places.enter_async_context(listening.place(f"owner {owner}"))
                with pytest.raises(TooManyStreams, match="2 event streams of owner"):
                    await places.enter_async_context(listening.place(f"owner {owner}"))
            with pytest.raises(StreamsFull) as told:
                await places.enter_async_context(listening.place("another"))
            assert told.value.retry_after
        async with listening.place("another"):
            pass
        await listening.close()

    asyncio.run(run())


def test_connections_of_listeners_are_closed_behind_the_last(server: Embedded) -> None:
    url = records_url(server.settings)

    async def over() -> bool:
        return True

    async def run() -> int:
        listening = Streams(url)

        async def listen() -> None:
            async with listening.place("anna"):
                assert [event async for event in listening.follow("anna", "mdl_none", None, over, over)] == []

        await asyncio.gather(*(listen() for _ in range(20)))
        for _ in range(500):
            if connections() <= before:
                break
            await asyncio.sleep(0.02)  # Redis hears of an end a moment later
        left = connections()
        await listening.close()
        return left

    with connect(url) as client:

        def connections() -> int:
            return sum(found["cmd"] == "xread" for found in client.client_list())

        before = connections()
        assert asyncio.run(run()) <= before


def test_a_listener_too_many_is_refused(server: Embedded, http: httpx.Client) -> None:
    model = adapt(http, drawn(2, 1, first=9100), meta_model="omniglot-protonet")["id"]
    app = create_app(Settings(redis_url=records_url(server.settings)))

    async def ask() -> list[httpx.Response]:
        async with app.router.lifespan_context(app):
            listening, transport = app.state.services.streams, httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as asking:
                listening.most_of_one = 0
                first = await asking.get(f"/v1/models/{model}/events")
                listening.most, listening.most_of_one = 0, 1
                second = await asking.get(f"/v1/models/{model}/events")
                listening.most = 1
                return [first, second, await asking.get(f"/v1/models/{model}/events")]

    shared, full, answered = asyncio.run(ask())
    assert assert_problem(shared, 429, "too_many_streams")["retryable"]
    assert assert_problem(full, 503, "streams_full")["retryable"]
    assert shared.headers["retry-after"] == full.headers["retry-after"] == "5"
    assert "event: status" in answered.text
