"""What connections may send around bodies, and what becomes of those that end, or wish for another protocol."""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any

import httpx
import pytest

from innerloop.embedded import Embedded
from tests.asking import PROBLEM_FIELDS
from tests.e2e.test_metrics import scrape, value
from tests.faults.victim import until

BODY = json.dumps({"support": [], "inputs": []}).encode()
POST = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADES = {
    "h2c": b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "websocket": b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
}


@contextmanager
def connected(http: httpx.Client) -> Iterator[socket.socket]:
    with socket.create_connection((http.base_url.host, http.base_url.port or 0), 10) as connection:
        yield connection


def answer_of(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the next answer, which has what each has."""
    with HTTPResponse(connection) as answer:
        answer.begin()
        found = json.loads(answer.read())
    assert answer.headers["X-Request-Id"]
    if answer.status >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert set(found) >= PROBLEM_FIELDS
    return answer.status, found


ENDLESS = {
    "a value": (b"GET /healthz HTTP/1.1\r\nX-Big: ", b"a" * 2**14, 431),
    "headers": (b"GET /healthz HTTP/1.1\r\n", b"a: b\r\n" * 2**12, 431),
    "trailers": (CHUNKED + b"1\r\n{\r\n0\r\n", b"a: b\r\n" * 2**12, 431),
    "a chunk's length": (CHUNKED + b"1;", b"a" * 2**14, 431),
    "a URL": (b"GET /", b"a" * 2**14, 414),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_what_does_not_end_is_refused(http: httpx.Client, what: str) -> None:
    first, more, wanted = ENDLESS[what]
    with connected(http) as connection:
        connection.sendall(first)
        behind = 0
        for _ in range(20):  # little enough for what is on its way when the refusal is sent
            connection.sendall(more)
            time.sleep(0.005)
            behind += bool(select.select([connection], [], [], 0)[0])
            if behind == 5:  # and as little later: what comes behind a refusal is thrown away for a second
                break
        status, problem = answer_of(connection)
        assert connection.recv(1) == b""
    assert (status, problem["code"]) == (wanted, "url_too_long" if wanted == 414 else "head_too_large")
    assert len(json.dumps(problem)) < 1000, "what is too long is not sent back"


def test_a_head_is_measured_once_it_ends_too(http: httpx.Client) -> None:
    with connected(http) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Big: %b\r\n\r\n" % (b"a" * 60_000))
        assert answer_of(connection)[0] == 200
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Big: %b\r\n\r\n" % (b"a" * 66_000))
        assert answer_of(connection)[0] == 431


def test_trailers_behind_a_body_of_many_chunks_are_passed_over(http: httpx.Client) -> None:
    chunks = b"".join(b"1\r\n%b\r\n" % bytes([byte]) for byte in BODY + b" " * 50_000)
    with connected(http) as connection:
        connection.sendall(CHUNKED + chunks + b"0\r\nX-Request-Id: trailed\r\n\r\n")
        status, problem = answer_of(connection)
        assert (status, problem["code"]) == (422, "no_inputs")
        assert problem["request_id"] != "trailed"
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY))
        assert answer_of(connection)[0] == 422, "the connection goes on"


@pytest.mark.parametrize("wish", UPGRADES)
def test_another_protocol_is_not_spoken_and_the_request_is_answered(http: httpx.Client, wish: str) -> None:
    head = POST + UPGRADES[wish] + b"Content-Length: %d\r\n\r\n" % len(BODY)
    with connected(http) as connection:
        for pause in (0, 0.05):
            for piece in [head + BODY] if not pause else [head[:90], head[90:], BODY[:5], BODY[5:]]:
                connection.sendall(piece)
                time.sleep(pause)
            status, problem = answer_of(connection)
            assert (status, problem["code"]) == (422, "no_inputs")
        chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
        last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(POST + UPGRADES[wish] + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + last)
        answers = b"".join(iter(lambda: connection.recv(10_000), b""))
        assert re.findall(rb"HTTP/1.1 ([0-9]+)", answers) == [b"422", b"200"]


def test_whoever_asked_and_says_that_no_more_will_come_is_answered(http: httpx.Client) -> None:
    with connected(http) as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY))
        connection.shutdown(socket.SHUT_WR)
        status, problem = answer_of(connection)
        assert (status, problem["code"]) == (422, "no_inputs")
        assert connection.recv(1) == b""
    with connected(http) as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n%b" % (len(BODY) + 1, BODY))
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b"", "half a request has no answer"


def test_whoever_leaves_while_sending_is_no_fault_of_the_server(http: httpx.Client, server: Embedded) -> None:
    def counted(status: str) -> float:
        name = "innerloop_http_requests_total"
        return value(scrape(http), name, method="POST", route="/v1/classify", status=status)

    log = next(part.log for part in server.parts if part.name == "api")
    before, logged = (counted("4xx"), counted("5xx")), log.stat().st_size
    with connected(http) as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n%b" % (len(BODY) + 1, BODY))
        time.sleep(0.1)
    until(lambda: counted("4xx") > before[0])
    assert counted("5xx") == before[1]
    told = log.read_bytes()[logged:].decode()
    assert "POST /v1/classify: the client left before its whole body was here" in told
    assert "Traceback" not in told
