"""The client follows a model's events: as they happen, across broken connections, and read however they are cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from innerloop import AsyncClient, Client, InnerloopHTTPError, ServerUnreachable
from innerloop.client import errors, following
from innerloop.client.events import EventReader
from innerloop.embedded import Embedded
from tests.asking import drawn
from tests.local_server import Answer, listening

SSE = {"Content-Type": "text/event-stream; charset=utf-8"}
BREAKS = {**SSE, "Content-Length": "100000"}
OVER: Answer = (204, {"Content-Length": "0"}, b"")


class Streams:
    """Prepared answers in turn, and the `Last-Event-ID` of what was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer | None] = []
        self.asked: list[str | None] = []
        self.url = ""

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        assert (method, path, headers["Accept"]) == ("GET", "/v1/models/mdl_1/events", "text/event-stream")
        self.asked.append(headers.get("Last-Event-ID"))
        return self.answers.pop(0)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[Streams]:
    monkeypatch.setattr(following, "time", SimpleNamespace(sleep=lambda seconds: None))
    made = Streams()
    with listening(made.answer) as port:
        made.url = f"http://127.0.0.1:{port}"
        yield made


def sent(*numbers: int) -> bytes:
    """Events as the server writes them, after a sign of life."""
    events = [f"id: {n}-0\r\nevent: step\r\ndata: {json.dumps({'id': f'{n}-0', 'step': n})}\r\n\r\n" for n in numbers]
    return (": ping\r\n\r\n" + "".join(events)).encode()


def ids(url: str, after: str | None = None, tries: int = 8) -> list[str]:
    with Client(url, tries=tries) as client:
        return [event["id"] for event in client.follow("mdl_1", after=after)]


def test_an_adaptation_is_followed_to_its_end(server: Embedded) -> None:
    with Client(server.url) as client:
        accepted = client.adapt(drawn(3, 2, first=5200), meta_model="omniglot-maml", inner_steps=4, wait=None)
        events = list(client.follow(accepted["id"]))
        assert [e["status"] for e in events if e["event"] == "status"] == ["queued", "adapting", "ready"]
        steps = [e for e in events if e["event"] == "step"]
        assert [e["step"] for e in steps] == [0, 1, 2, 3]
        assert all(e["support_loss"] > 0 for e in steps)
        assert client.events(accepted["id"]) == events
        assert client.events(accepted["id"], after=events[1]["id"]) == events[2:]
        assert list(client.follow(accepted["id"], after=events[1]["id"])) == events[2:]
        assert list(client.follow(accepted["id"], after=events[-1]["id"])) == []
        client.delete(accepted["id"])
        with pytest.raises(errors.NotFound):
            next(client.follow(accepted["id"]))


def test_the_same_awaited(server: Embedded) -> None:
    async def job() -> None:
        async with AsyncClient(server.url) as client:
            accepted = await client.adapt(drawn(3, 1, first=5210), wait=None)
            told = [event async for event in client.follow(accepted["id"])]
            assert [e["status"] for e in told] == ["queued", "adapting", "ready"]
            assert await client.events(accepted["id"]) == told
            with pytest.raises(errors.NotFound):
                await anext(client.follow("mdl_none"))

    asyncio.run(job())


def test_the_same_awaited_over_broken_connections(streams: Streams) -> None:
    streams.answers = [(200, BREAKS, sent(1)), (503, {"Retry-After": "0"}, b'{"code": "x", "retryable": true}'), OVER]

    async def job() -> list[dict[str, Any]]:
        async with AsyncClient(streams.url) as client:
            return [event async for event in client.follow("mdl_1")]

    assert [event["id"] for event in asyncio.run(job())] == ["1-0"]
    assert streams.asked == [None, "1-0", "1-0"]


def test_events_come_as_they_happen(server: Embedded) -> None:
    with Client(server.url) as client:
        slow = {"meta_model": "omniglot-maml", "inner_steps": 50, "inner_lr": 0.001}
        accepted = client.adapt(drawn(4, 8, first=5230), **slow, wait=None)
        told = client.follow(accepted["id"])
        assert next(event for event in told if event.get("status") == "adapting")
        client.cancel(accepted["id"])
        assert list(told)[-1]["status"] == "canceled"


def test_a_stream_that_is_left_is_closed(server: Embedded) -> None:
    with Client(server.url) as client:
        model = client.adapt(drawn(2, 1, first=5220))
        for event in client.follow(model["id"]):
            assert event["status"] == "queued"
            break
        assert client.model(model["id"])["id"] == model["id"]


def test_a_broken_stream_goes_on_after_its_last_whole_event(streams: Streams) -> None:
    streams.answers = [(200, BREAKS, sent(1, 2) + sent(3)[:-6]), None, (200, SSE, sent(3)), OVER]
    assert ids(streams.url) == ["1-0", "2-0", "3-0"]
    assert streams.asked == [None, "2-0", "2-0", "3-0"]


def test_what_another_try_cannot_help_is_raised(streams: Streams) -> None:
    gone = json.dumps({"code": "not_found", "status": 404, "detail": "…", "retryable": False}).encode()
    streams.answers = [(200, SSE, sent(1)), (404, {}, gone)]
    with Client(streams.url) as client:
        events = client.follow("mdl_1")
        assert next(events)["id"] == "1-0"
        with pytest.raises(errors.NotFound):
            next(events)


def test_overload_is_tried_again(streams: Streams) -> None:
    full = json.dumps({"code": "store_unavailable", "status": 503, "detail": "…", "retryable": True}).encode()
    streams.answers = [(503, {"Retry-After": "0"}, full), (200, SSE, sent(1)), OVER]
    assert ids(streams.url) == ["1-0"]
    streams.answers = [(503, {"Retry-After": "0"}, full)] * 2
    with pytest.raises(errors.StoreUnavailable):
        ids(streams.url, tries=2)


def test_patience_ends_where_nothing_comes_and_not_where_something_does(streams: Streams) -> None:
    streams.answers = [(200, SSE, b"")] * 3
    with pytest.raises(ServerUnreachable, match="before it brings anything"):
        ids(streams.url, tries=3)
    streams.answers = [(200, BREAKS, sent(n)) for n in range(5)] + [(200, SSE, sent()), OVER]
    assert ids(streams.url, tries=1) == [f"{n}-0" for n in range(5)]
    with pytest.raises(ServerUnreachable, match="no server at"):
        ids("http://127.0.0.1:1", tries=2)


def test_silence_is_a_broken_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = Event()

    def slow(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if headers["Last-Event-ID"] == "7-0":
            silent.wait(10)
        return OVER

    monkeypatch.setattr(following, "SILENCE", 0.1)
    with listening(slow) as port:
        with pytest.raises(ServerUnreachable, match="before it brings anything"):
            ids(f"http://127.0.0.1:{port}", after="7-0", tries=2)
        silent.set()
        assert ids(f"http://127.0.0.1:{port}", after="7-0") == []


def test_something_else_behind_the_address(streams: Streams) -> None:
    streams.answers = [(200, {"Content-Type": "text/html"}, b"<p>Welcome")]
    with pytest.raises(InnerloopHTTPError, match="not_innerloop"):
        ids(streams.url)


@pytest.mark.parametrize(("model", "after", "kind"), [("", None, ValueError), ("mdl_1", 7, TypeError)])
def test_what_is_no_id_is_told_at_once(model: str, after: Any, kind: type[Exception]) -> None:
    with Client() as client, pytest.raises(kind):
        client.follow(model, after=after)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_events_are_read_however_they_are_cut(end: bytes, size: int) -> None:
    told = [{"id": "1-0", "detail": "line\u2028separator, ü"}, {"id": "2-0"}]
    first = json.dumps(told[0], ensure_ascii=False, indent=1).encode().split(b"\n")
    lines = [
        b": ping",
        b"",
        b"id: 1-0",
        *(b"data: " + part for part in first),
        b"",
        b"data:" + b'{"id": "2-0"}',
        b"",
        b"",
    ]
    stream = end.join(lines)
    reader = EventReader()
    assert [event for at in range(0, len(stream), size) for event in reader.read(stream[at : at + size])] == told
