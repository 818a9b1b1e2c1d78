"""POST /v1/classify: support and queries in one request, nothing kept."""

from __future__ import annotations

import threading
import time

import httpx
import pytest
import redis

from adapter.redis_store import DONE_CHANNEL
from innerloop.embedded import Embedded, records_url
from tests.asking import META_MODELS, adapt, assert_problem, best, drawn, measured, predict, support_of
from tests.drawings import b64, inputs_json, png
from tests.faults.victim import asleep


def listed(http: httpx.Client) -> list[str]:
    """The models there are; those of other tests may become ready meanwhile."""
    return [model["id"] for model in http.get("/v1/models", params={"limit": 100}).json()["data"]]


@pytest.mark.parametrize("meta_model", [*META_MODELS, "drawing", None])
def test_answers_rightly_and_keeps_nothing(http: httpx.Client, meta_model: str | None) -> None:
    before = listed(http)
    body = {"support": support_of(drawn(4, 1, first=2800)), "inputs": inputs_json([2803, 2800, 2801, 2802])}
    answer = http.post("/v1/classify", json={**body, "meta_model": meta_model} if meta_model else body)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert best(results) == ["class 3", "class 0", "class 1", "class 2"]
    assert [r["id"] for r in results] == ["q0", "q1", "q2", "q3"]
    assert "@" in answer.json()["meta_model"]
    assert listed(http) == before
    assert "mdl_" not in answer.text
    assert "location" not in answer.headers


@pytest.mark.parametrize("meta_model", META_MODELS)
def test_answers_as_a_kept_model_does(http: httpx.Client, meta_model: str) -> None:
    examples, queries = drawn(3, 2, first=2810), [png(2810 + i, 100) for i in range(4)]
    options = {"meta_model": meta_model}
    if meta_model == "omniglot-maml":
        options["adaptation"] = {"inner_steps": 3}
    inputs = [{"id": f"q{i}", "image": b64(data)} for i, data in enumerate(queries)]
    body = {"support": support_of(examples), "inputs": inputs, "top_k": 200, **options}
    once = http.post("/v1/classify", json=body)
    assert once.status_code == 200, once.text
    kept = measured(http, adapt(http, examples, **options))
    assert once.json()["results"] == predict(http, kept["id"], queries)
    # A model of the same content stays as it was.
    assert http.post("/v1/classify", json=body).json()["results"] == once.json()["results"]
    assert http.get(f"/v1/models/{kept['id']}").json() == kept


def test_broken_inputs_are_answered_one_by_one(http: httpx.Client) -> None:
    inputs = [{"id": "bad", "image": b64(b"no image")}, {"id": "good", "image": b64(png(2821, 100))}]
    answer = http.post("/v1/classify", json={"support": support_of(drawn(2, 1, first=2820)), "inputs": inputs})
    assert answer.status_code == 200, answer.text
    bad, good = answer.json()["results"]
    assert (bad["id"], bad["error"]["code"], bad["error"]["status"]) == ("bad", "undecodable_image", 422)
    assert (good["id"], best([good])) == ("good", ["class 1"])


def test_bad_requests(http: httpx.Client) -> None:
    support, inputs = support_of(drawn(2, 1, first=2830)), inputs_json([2830])
    broken = [*support, {"label": "torn", "input": {"image": b64(png(1, 1)[:40])}}]
    refused = [
        ({"support": support, "inputs": []}, "no_inputs"),
        ({"support": support[:1], "inputs": inputs}, "too_few_classes"),
        ({"support": support, "inputs": inputs, "meta_model": "none"}, "unknown_meta_model"),
        ({"support": broken, "inputs": inputs}, "undecodable_image"),
        ({"support": support}, "invalid_request"),
        ({"inputs": inputs}, "invalid_request"),
        ({"support": support, "inputs": inputs, "ttl_seconds": 60}, "invalid_request"),
    ]
    for body, code in refused:
        assert_problem(http.post("/v1/classify", json=body), 422, code)


def test_what_its_redis_lost_is_to_be_sent_again(http: httpx.Client, server: Embedded) -> None:
    """As a failover to a master without the latest writes does it."""
    with asleep(server), redis.Redis.from_url(records_url(server.settings)) as records:
        over = threading.Event()

        def lose() -> None:
            while not over.is_set():
                for record in records.scan_iter("il:local:model:*", count=1000):
                    if b'"ephemeral":true' in (records.hget(record, "spec") or b""):
                        records.delete(record)
                        records.publish(DONE_CHANNEL, b"local/" + record.rpartition(b":")[2])
                time.sleep(0.005)

        losing = threading.Thread(target=lose)
        losing.start()
        try:
            body = {"support": support_of(drawn(5, 5, first=2840)), "inputs": inputs_json([2840])}
            settings = {"meta_model": "omniglot-maml", "adaptation": {"inner_steps": 20}}
            answer = http.post("/v1/classify", json={**body, **settings})
        finally:
            over.set()
            losing.join()
    assert_problem(answer, 503, "store_unavailable")
    assert answer.headers["retry-after"] == "1"
