"""An API process that is told to stop answers everybody who waits, in words, before it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from adapter.config import Settings
from api import protocol
from innerloop.embedded import Embedded
from tests.faults.victim import Victim, slow, until


def test_whoever_waits_is_answered(tmp_path: Path) -> None:
    with (
        Embedded(Settings(port=0, data_dir=tmp_path)) as running,
        httpx.Client(base_url=running.url, timeout=30) as http,
        ThreadPoolExecutor() as pool,
    ):
        victim = Victim(running, http)
        api, worker = victim.part("api").process, victim.part("worker").process
        assert api is not None
        assert worker is not None
        os.kill(worker.pid, signal.SIGSTOP)  # what is accepted stays open
        try:
            model_id = victim.adapt_later(slow(1))

            def wait() -> httpx.Response:
                return http.post("/v1/models", json=slow(2), headers={"Prefer": "wait=60"})

            def listen() -> str:
                with http.stream("GET", f"/v1/models/{model_id}/events") as stream:
                    listening.set()
                    return "".join(stream.iter_text())

            def half() -> httpx.Response:
                def body() -> Iterator[bytes]:
                    yield b'{"support": '
                    begun.set()
                    until(lambda: answered.done() and heard.done())
                    yield b"[]}"

                return http.post("/v1/models", content=body(), headers={"Content-Type": "application/json"})

            listening, begun = threading.Event(), threading.Event()
            answered, heard = pool.submit(wait), pool.submit(listen)
            until(lambda: len(http.get("/v1/models").json()["data"]) == 2)
            assert listening.wait(30)
            sent = pool.submit(half)
            assert begun.wait(30)
            assert httpx.get(f"{running.url}/healthz").is_success  # who came before was accepted, and not just sent
            os.kill(api.pid, signal.SIGTERM)
            answer = answered.result(timeout=10)
            assert answer.status_code == 202
            assert answer.headers["location"] == f"/v1/models/{answer.json()['id']}"
            assert "queued" in heard.result(timeout=10)
            assert sent.result(timeout=15).status_code in (422, 503)
        finally:
            os.kill(worker.pid, signal.SIGCONT)


def test_a_connection_that_never_asks_or_never_ends_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.6)
    monkeypatch.setattr(protocol, "REST_SECONDS", 0.2)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await asyncio.sleep(0.8)
            await PlainTextResponse("here")(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(app, port=0, http=protocol.Protocol, lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        address = server.servers[0].sockets[0].getsockname()
        for begun in (b"", b"GET / HTTP/1.1\r\nHost: x"):
            with socket.create_connection(address, timeout=5) as silent:
                silent.sendall(begun)
                assert silent.recv(1) == b""
        with socket.create_connection(address, timeout=5) as endless:
            endless.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
            assert b"".join(iter(lambda: endless.recv(1000), b"")).endswith(b"here"), "answered, and not waited for"
        assert httpx.get(f"http://127.0.0.1:{address[1]}/").text == "here"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
