"""`models follow` shows what happens to a model until it is settled, over broken connections too."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from innerloop import Client
from innerloop.cli.console import ExitCode
from innerloop.embedded import Embedded
from tests.asking import drawn
from tests.innerloop.conftest import ROOT, Run
from tests.local_server import Answer, listening

SSE = {"Content-Type": "text/event-stream"}
BREAKS = {**SSE, "Content-Length": "100000"}
OVER: Answer = (204, {"Content-Length": "0"}, b"")


class Told:
    """A server with one model: its streams of events in turn, then `OVER` for ever, and what became of it."""

    def __init__(self) -> None:
        self.streams: list[Answer | None] = []
        self.asked: list[str | None] = []
        self.newest: dict[str, Any] = {"version": 1, "status": "ready", "error": None}
        self.url = ""

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        assert method == "GET"
        if path == "/v1/models/mdl_1/events":
            self.asked.append(headers.get("Last-Event-ID"))
            return self.streams.pop(0) if self.streams else OVER
        number = self.newest["version"]
        known = {"/v1/models/mdl_1": {"latest_version": number}, f"/v1/models/mdl_1/versions/{number}": self.newest}
        return 200, {"Content-Type": "application/json"}, json.dumps(known[path]).encode()


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    with listening(made.answer) as port:
        made.url = f"http://127.0.0.1:{port}"
        yield made


def sent(number: int, version: int = 1, **event: Any) -> bytes:
    data = {"id": f"{number}-0", "version": version, "at": "2026-01-02T03:04:05.678000Z", **event}
    return f"data: {json.dumps(data)}\r\n\r\n".encode()


def status(number: int, status: str, version: int = 1) -> bytes:
    return sent(number, version, event="status", status=status)


def following(url: str, *options: str) -> subprocess.Popen[str]:
    """The command while it runs, its output unbuffered; it hears Ctrl-C though a shell began these tests behind."""
    command = [sys.executable, "-m", "innerloop", "models", "follow", *options]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "INNERLOOP_URL": url}
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_an_adaptation_is_shown_to_its_end(run: Run, server: Embedded) -> None:
    with Client(server.url) as client:
        how = {"meta_model": "omniglot-maml", "inner_steps": 3, "inner_lr": 0.01}
        model = client.adapt(drawn(3, 2, first=8300), **how, wait=None)["id"]
        shown = [line.split(maxsplit=2) for line in run("models", "follow", model).stdout.splitlines()]
        events = client.events(model)
    assert [f"{day}T{hour}" for day, hour, _ in shown] == [event["at"][:19] for event in events]
    said = [rest for *_, rest in shown]
    assert [said[i] for i in (0, 1, -1)] == ["v1  queued", "v1  adapting", "v1  ready"]
    losses = [f"v1  step   {e['step']}  support loss {e['support_loss']:.4g}" for e in events if e["event"] == "step"]
    assert said[2:-1] == losses
    assert len(losses) == 3
    lines = run("models", "follow", model, "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == events


def test_every_event_is_shown_once_over_broken_connections(run: Run, told: Told) -> None:
    hook = {"url": "http://192.0.2.1/[red]", "outcome": "gave_up", "attempt": 8, "message": "msg_1"}
    told.streams = [
        (200, BREAKS, status(1, "adapting") + sent(2, event="step", step=0)),
        None,
        (502, {}, b"<html>"),
        (200, SSE, sent(3, event="webhook", webhook=hook) + status(4, "ready", version=2)),
    ]
    told.newest = {"version": 2, "status": "ready", "error": None}
    shown = run("models", "follow", "mdl_1", url=told.url).stdout.splitlines()
    assert [line.removeprefix("2026-01-02 03:04:05  ") for line in shown] == [
        "v1  adapting",
        "v1  step   0  support loss not finite",
        "v1  webhook gave up  http://192.0.2.1/[red], attempt 8: no answer",
        "v2  ready",
    ]
    assert told.asked == [None, "2-0", "2-0", "2-0", "4-0"]


def test_a_version_of_that_moment_is_waited_for(run: Run, told: Told) -> None:
    told.streams = [(200, SSE, status(1, "ready")), OVER, (200, SSE, status(2, "ready", version=2)), OVER]
    newest = iter(("queued", "ready"))

    def answer(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        if "/versions/" in path:
            told.newest["status"] = next(newest)
        return told.answer(method, path, headers, body)

    with listening(answer) as port:
        shown = run("models", "follow", "mdl_1", "--json", url=f"http://127.0.0.1:{port}").stdout.splitlines()
    assert [json.loads(line)["version"] for line in shown] == [1, 2]


def test_what_is_not_ready_in_the_end_is_told_by_the_exit_code(run: Run, told: Told) -> None:
    told.streams = [(200, SSE, status(1, "failed"))]
    told.newest = {"version": 1, "status": "failed", "error": {"code": "adaptation_diverged", "detail": "lower it"}}
    failed = run("models", "follow", "mdl_1", url=told.url, expect=ExitCode.REFUSED)
    assert "v1  failed" in failed.stdout
    assert "version 1 is failed: lower it" in failed.stderr
    told.newest = {"version": 3, "status": "canceled", "error": None}
    canceled = run("models", "follow", "mdl_1", "--json", url=told.url, expect=ExitCode.REFUSED)
    error = json.loads(canceled.stderr)["error"]
    assert (error["code"], error["detail"][:21]) == ("canceled", "version 3 is canceled")
    assert "is no model id" in " ".join(run("models", "follow", "letters", expect=2).stderr.split())
    run("models", "follow", "mdl_none", expect=ExitCode.REFUSED)
    run("models", "follow", "mdl_1", url="http://127.0.0.1:1", expect=ExitCode.TRY_AGAIN)


def test_it_goes_on_where_it_is_to_and_ends_quietly(told: Told) -> None:
    told.streams = [(200, SSE, status(1, "ready")), OVER, OVER, (200, SSE, status(2, "ready", version=2))]
    with following(told.url, "mdl_1", "--go-on", "--json") as command:
        assert command.stdout
        assert [json.loads(command.stdout.readline())["version"] for _ in range(2)] == [1, 2]
        command.send_signal(signal.SIGINT)
        assert [*command.communicate(timeout=30), command.returncode] == ["", "", 130]
    assert told.asked[:4] == [None, "1-0", "1-0", "1-0"]


def test_whoever_reads_may_stop_reading() -> None:
    lines = "from innerloop.cli.console import print_line\nfor number in range(100_000): print_line(number)"
    with subprocess.Popen(
        [sys.executable, "-c", lines], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True
    ) as telling:
        assert telling.stdout is not None
        assert telling.stderr is not None
        assert telling.stdout.readline() == "0\n"
        telling.stdout.close()
        assert telling.stderr.read() == ""
