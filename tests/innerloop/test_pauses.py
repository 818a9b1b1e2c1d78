"""How long the client waits before it asks again, for an answer, and for what it does not; how much it asks at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from types import SimpleNamespace

import pytest

from innerloop import AsyncClient, Client
from innerloop.client import clients, errors, steps
from tests.drawings import png
from tests.faults.victim import until
from tests.local_server import Answer, listening

DONE = (200, {}, b'{"data": []}')


class Server:
    """Prepared answers in turn, after as long as it `takes`; what it was asked, and what the client slept."""

    def __init__(self) -> None:
        self.answers: list[Answer | None] = []
        self.asked: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []
        self.slept: list[float] = []
        self.takes, self.url = 0.0, ""

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        self.asked.append(body)
        self.headers.append(headers)
        time.sleep(self.takes)
        return self.answers[len(self.asked) - 1]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server()

    async def sleep(seconds: float) -> None:
        made.slept.append(seconds)

    monkeypatch.setattr(clients, "time", SimpleNamespace(sleep=made.slept.append))
    monkeypatch.setattr(clients, "asyncio", SimpleNamespace(sleep=sleep))
    with listening(made.answer) as port:
        made.url = f"http://127.0.0.1:{port}"
        yield made


def busy(status: int, seconds: str) -> tuple[int, dict[str, str], bytes]:
    told = {
        "code": "queue_full" if status == 503 else "rate_limited",
        "status": status,
        "detail": "…",
        "retryable": True,
    }
    return status, {"Retry-After": seconds}, json.dumps(told).encode()


def test_the_server_says_how_long(server: Server) -> None:
    server.answers = [busy(503, "7"), busy(429, "60"), DONE]
    with Client(server.url) as client:
        assert client.meta_models() == []
    first, second = server.slept
    assert 7 <= first <= 8
    assert 60 <= second <= 61


def test_more_than_a_minute_is_the_callers_to_wait(server: Server) -> None:
    server.answers = [busy(429, "61")]
    with Client(server.url) as client, pytest.raises(errors.RateLimited) as told:
        client.meta_models()
    assert (told.value.retry_after, len(server.asked), server.slept) == (61, 1, [])


def test_who_awaits_is_as_patient(server: Server) -> None:
    """A server that is busy, a connection that breaks, and a model that is not ready yet."""
    queued, ready = ({"id": "mdl_1", "status": status} for status in ("queued", "ready"))
    answers = [(202, {}, json.dumps(queued).encode()), (200, {}, json.dumps(ready).encode())]
    server.answers = [busy(503, "7"), None, *answers, (404, {}, b'{"code": "not_found", "status": 404}')]

    async def job() -> None:
        async with AsyncClient(server.url) as client:
            assert await client.adapt([("a", png(1, 1))]) == ready
            with pytest.raises(errors.NotFound):
                await client.model("mdl_none")

    asyncio.run(job())
    again, lost, polled = server.slept
    assert 7 <= again <= 8
    assert 0.1 <= lost <= 0.4
    assert polled == pytest.approx(0.1)
    assert len({headers.get("Idempotency-Key") for headers in server.headers[:3]} - {None}) == 1


@pytest.mark.parametrize("status", [502, 504])
def test_a_proxy_before_a_server_that_starts_is_asked_again(server: Server, status: int) -> None:
    server.answers = [(status, {}, b"<html>Bad Gateway</html>"), DONE]
    with Client(server.url) as client:
        assert client.meta_models() == []
    assert len(server.slept) == 1


def test_an_answer_that_was_damaged_on_the_way_is_asked_for_again(server: Server) -> None:
    server.answers = [(200, {"Content-Encoding": "gzip"}, b"no gzip"), DONE]
    with Client(server.url) as client:
        assert client.meta_models() == []


def test_an_answer_that_takes_too_long_would_again(server: Server) -> None:
    server.answers, server.takes = [None, DONE], 0.5
    with Client(server.url, timeout=0.1) as client, pytest.raises(TimeoutError, match="within the client's timeout"):
        client.meta_models()
    until(lambda: bool(server.asked))  # it may have taken that long to arrive
    assert len(server.asked) == 1


def test_a_timeout_may_be_for_ever(server: Server) -> None:
    server.answers = [DONE]
    with Client(server.url, timeout=float("inf")) as client:
        assert client.meta_models() == []


def test_an_adaptation_that_is_waited_for_may_take_longer_than_other_answers(server: Server) -> None:
    server.answers, server.takes = [(201, {}, b'{"id": "mdl_1", "status": "ready"}')], 0.5
    with Client(server.url, timeout=0.1) as client:
        assert client.adapt([("a", png(1, 1))], wait=1)["status"] == "ready"


def test_a_request_holds_no_more_bytes_than_it_should(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for an input that is larger by itself."""
    monkeypatch.setattr(steps, "BATCH_BYTES", 20)
    inputs = [b"\xffPNG" + bytes(n - 4) for n in (10, 10, 4, 4, 30, 5)]
    assert [[len(one) for one in part] for part in steps.batches(inputs, 100)] == [[10, 10], [4, 4], [30], [5]]
