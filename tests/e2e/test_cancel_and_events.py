"""Stopping an adaptation, and watching one: server-sent events that resume, or a list."""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Any

import httpx
import pytest

from innerloop.embedded import Embedded
from tests.asking import adapt, assert_problem, drawn, settled, support_of
from tests.drawings import inputs_json, support_json
from tests.faults.victim import asleep, until

ASYNC = {"Prefer": "respond-async"}
SSE = {"Accept": "text/event-stream"}


def slow(first: int, steps: int = 20) -> dict[str, Any]:
    """Seconds of work for one worker."""
    adaptation = {"inner_steps": steps, "inner_lr": 0.001}
    return {"meta_model": "omniglot-maml", "adaptation": adaptation, "support": support_json(4, 8, first=first)}


def streamed(lines: Iterator[str]) -> list[dict[str, Any]]:
    """Events as (id, event, data), checked against each other."""
    events: list[dict[str, Any]] = []
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and fields:
            data = json.loads(fields["data"])
            assert (data["id"], data["event"]) == (fields["id"], fields["event"])
            events.append(data)
            fields = {}
    return events


def listen(http: httpx.Client, path: str, last: str | None = None) -> list[dict[str, Any]]:
    """The whole stream, until the server ends it."""
    headers = {**SSE, **({"Last-Event-ID": last} if last else {})}
    with http.stream("GET", f"{path}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return streamed(answer.iter_lines())


def test_a_listener_sees_the_adaptation_from_beginning_to_end(http: httpx.Client) -> None:
    path = http.post("/v1/models", json=slow(3100, steps=6), headers=ASYNC).headers["location"]
    events = listen(http, path)
    assert [e["status"] for e in events if e["event"] == "status"] == ["queued", "adapting", "ready"]
    steps = [e for e in events if e["event"] == "step"]
    assert [e["step"] for e in steps] == list(range(6))
    losses = [e["support_loss"] for e in steps]
    assert losses[-1] < losses[0]
    moments = [datetime.fromisoformat(e["at"]) for e in events]
    assert moments == sorted(moments)
    assert http.get(path).json()["status"] == "ready"
    for accept in ("application/json", "application/json, text/event-stream;q=0.1"):
        assert http.get(f"{path}/events", headers={"Accept": accept}).json()["data"] == events


def test_a_listener_that_was_cut_off_goes_on_where_it_was(http: httpx.Client) -> None:
    path = f"/v1/models/{adapt(http, drawn(2, 1, first=3110), meta_model='omniglot-maml')['id']}"
    events = listen(http, path)
    assert len(events) >= 3
    for place, event in enumerate(events[:-1]):
        assert listen(http, path, event["id"]) == events[place + 1 :]
    over = http.get(f"{path}/events", headers={**SSE, "Last-Event-ID": events[-1]["id"]})
    assert over.status_code == 204, "an EventSource must not come back"
    rest = http.get(f"{path}/events", headers={"Accept": "application/json", "Last-Event-ID": events[0]["id"]})
    assert rest.json()["data"] == events[1:]


@pytest.mark.parametrize("last", ["x", "1-", "1-2-3", "-1", "$"])
def test_ids_that_are_none_are_refused(http: httpx.Client, last: str) -> None:
    path = f"/v1/models/{adapt(http, drawn(2, 1, first=3110))['id']}"
    problem = assert_problem(http.get(f"{path}/events", headers={"Last-Event-ID": last}), 422)
    assert problem["errors"][0]["pointer"] == "Last-Event-ID"


def test_events_of_an_absent_model(http: httpx.Client) -> None:
    assert_problem(http.get("/v1/models/mdl_absent/events", headers=SSE), 404, "not_found")


def test_a_stream_ends_when_its_model_is_deleted(server: Embedded, http: httpx.Client) -> None:
    with asleep(server):
        path = http.post("/v1/models", json=slow(3120), headers=ASYNC).headers["location"]
        with http.stream("GET", f"{path}/events", headers=SSE) as answer:
            lines = answer.iter_lines()
            first = next(lines)
            assert http.delete(path).status_code == 204
            assert [e.get("status") for e in streamed(chain([first], lines))] == ["queued"]
    assert_problem(http.get(path), 404)


def test_cancel_while_adapting(http: httpx.Client) -> None:
    path = http.post("/v1/models", json=slow(3130, steps=50), headers=ASYNC).headers["location"]
    answer = http.post(f"{path}/cancel")
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "canceled"
    assert http.post(f"{path}/cancel").json()["status"] == "canceled", "twice is once"
    assert [e["status"] for e in listen(http, path) if e["event"] == "status"][-1] == "canceled"
    problem = assert_problem(http.post(f"{path}/predictions", json={"inputs": inputs_json([0])}), 409, "canceled")
    assert not problem["retryable"]
    adapt(http, drawn(2, 1, first=3140))  # the worker is free again
    assert settled(http, path)["status"] == "canceled"


def test_an_older_adaptation_goes_on_behind_a_canceled_one(server: Embedded, http: httpx.Client) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool, asleep(server):
        path = http.post("/v1/models", json=slow(3180), headers=ASYNC).headers["location"]
        added = http.post(f"{path}/examples", json={"examples": support_of(drawn(1, 1, first=3190))}, headers=ASYNC)
        assert added.status_code == 202, added.text
        assert http.post(f"{path}/cancel").status_code == 200
        assert http.get(f"{path}/versions/2").json()["status"] == "canceled"
        told = pool.submit(listen, http, path)
        with pytest.raises(TimeoutError):
            told.result(0.5)  # there is more to come
        answer = http.post(f"{path}/cancel")
    assert (answer.status_code, http.get(f"{path}/versions/1").json()["status"]) == (200, "canceled")
    ended = [e["version"] for e in told.result() if e.get("status") == "canceled"]
    assert ended == [2, 1]
    assert http.post(f"{path}/cancel").json()["status"] == "canceled"


def test_a_cancel_that_is_sent_again_stops_nothing_else(server: Embedded, http: httpx.Client) -> None:
    """Its key names what it stopped."""
    with asleep(server):
        path = http.post("/v1/models", json=slow(3200), headers=ASYNC).headers["location"]
        http.post(f"{path}/examples", json={"examples": support_of(drawn(1, 1, first=3210))}, headers=ASYNC)
        for _ in range(2):
            assert http.post(f"{path}/cancel", headers={"Idempotency-Key": "stop"}).status_code == 200
            assert http.get(f"{path}/versions/2").json()["status"] == "canceled"
            assert http.get(f"{path}/versions/1").json()["status"] == "queued"
        assert http.post(f"{path}/cancel", headers={"Idempotency-Key": "stop all"}).status_code == 200
        assert http.get(f"{path}/versions/1").json()["status"] == "canceled"
    http.delete(path)


def test_whoever_waits_for_a_canceled_model_hears_of_it(server: Embedded, http: httpx.Client) -> None:
    def queued() -> list[str]:
        return [model["id"] for model in http.get("/v1/models").json()["data"] if model["status"] == "queued"]

    with asleep(server), concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(http.post, "/v1/models", json=slow(3150), headers={"Prefer": "wait=60"})
        until(lambda: bool(queued()))
        [model] = queued()
        assert http.post(f"/v1/models/{model}/cancel").status_code == 200
        assert_problem(waiting.result(), 409, "canceled")


def test_the_same_content_after_a_cancel_is_adapted_anew(server: Embedded, http: httpx.Client) -> None:
    body = {
        "support": support_of(drawn(3, 1, first=3160)),
        **{k: v for k, v in slow(0, steps=8).items() if k != "support"},
    }
    with asleep(server):
        first = http.post("/v1/models", json=body, headers=ASYNC)
        assert http.post(f"{first.headers['location']}/cancel").status_code == 200
    again = http.post("/v1/models", json=body, headers={"Prefer": "wait=60"})
    assert again.status_code == 201, again.text
    assert again.json()["id"] != first.json()["id"]


def test_nothing_to_cancel(http: httpx.Client) -> None:
    path = f"/v1/models/{adapt(http, drawn(2, 1, first=3170))['id']}"
    assert_problem(http.post(f"{path}/cancel"), 409, "not_cancelable")
    assert http.get(path).json()["status"] == "ready"
    assert_problem(http.post("/v1/models/mdl_absent/cancel"), 404, "not_found")
