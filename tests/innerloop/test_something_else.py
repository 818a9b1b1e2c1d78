"""The client where no Innerloop server is: an address of something else, of nobody, or none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from innerloop import Client, InnerloopHTTPError, ServerUnreachable
from tests.local_server import listening


@pytest.mark.parametrize(
    ("status", "headers", "body", "told"),
    [
        (418, {}, b"a teapot", r"not_innerloop \(418\): .* is answered by something else .*: a teapot"),
        (302, {"Location": "https://sso.example"}, b"", "something else than Innerloop: nothing"),
        (200, {"Content-Type": "text/html"}, b"<html>\n<h1>Log in</h1>", r"not_innerloop \(200\): .*> <h1>Log in"),
        (200, {"Content-Type": "application/json"}, b'{"object": "list", "data": []}', "not_innerloop"),
        (200, {"Content-Type": "application/json"}, b'{"code": "ok"}', "not_innerloop"),
        (200, {"Content-Encoding": "gzip"}, b"torn", "cannot be read"),
    ],
)
def test_something_else_behind_the_address(status: int, headers: dict[str, str], body: bytes, told: str) -> None:
    address = listening(lambda *_: (status, headers, body), ours=False)
    with address as port, Client(f"http://127.0.0.1:{port}", tries=1) as client:
        for call in (client.models, lambda: client.export("mdl_1"), lambda: list(client.follow("mdl_1"))):
            with pytest.raises((InnerloopHTTPError, ServerUnreachable), match=told):
                call()


def test_nobody_there() -> None:
    with Client("http://127.0.0.1:1", tries=2) as client, pytest.raises(ServerUnreachable, match="innerloop serve"):
        client.models()


def test_an_address_without_a_scheme_is_told_at_once() -> None:
    with Client("localhost:8321") as client, pytest.raises(ValueError, match="begins with http:// or https://"):
        client.models()


@pytest.mark.parametrize("url", ["http://é..x", "http://127.0.0.1:port", "http://[::1"])
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(ValueError, match="is no address of a server"):
        Client(url)


@pytest.mark.parametrize("seconds", ["-5", "nan", "soon"])
def test_a_server_that_asks_for_no_time_is_asked_again_soon(seconds: str) -> None:
    full = {"code": "queue_full", "status": 503, "detail": "…", "retryable": True}
    answers: list[Any] = [(503, {"Retry-After": seconds}, full), (200, {}, {"data": []})]

    def answer(*_: object) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = answers.pop(0)
        return status, headers, json.dumps(body).encode()

    with listening(answer) as port, Client(f"http://127.0.0.1:{port}") as client:
        assert client.meta_models() == []
