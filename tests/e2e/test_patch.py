"""Changing a model without adapting: name, life, rejection, and what guards lost updates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import redis

from adapter.config import RECORDS_LINK
from innerloop.embedded import Embedded
from tests.asking import adapt, assert_problem, drawn, measured, predict, settled, support_of
from tests.drawings import png


@pytest.fixture(scope="module")
def path(module_http: httpx.Client) -> str:
    return f"/v1/models/{adapt(module_http, drawn(3, 2, first=3000))['id']}"


def test_name_is_changed_and_taken_away(http: httpx.Client, path: str) -> None:
    answer = http.patch(path, json={"name": "letters"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["name"] == "letters"
    assert http.get(path).json() == answer.json()
    assert http.patch(path, json={}).json()["name"] == "letters"
    assert http.patch(path, json={"name": None}).json()["name"] is None


def test_life_counts_from_now(http: httpx.Client, path: str) -> None:
    for sent, seconds in ((3600, 3600), (90_000, 90_000), (None, 604_800)):
        expires = datetime.fromisoformat(http.patch(path, json={"ttl_seconds": sent}).json()["expires_at"])
        assert (expires - datetime.now(UTC)).total_seconds() == pytest.approx(seconds, abs=10)


def test_what_is_not_sent_stays(http: httpx.Client, path: str) -> None:
    longest = http.get("/v1/limits").json()["max_ttl_seconds"]
    changed = http.patch(path, json={"ttl_seconds": longest, "false_reject_rate": 0.1, "name": "kept"}).json()
    assert changed["false_reject_rate"] == 0.1
    for body in ({"name": "kept"}, {"false_reject_rate": 0.1}):
        assert http.patch(path, json=body).json() == changed
    http.patch(path, json={"ttl_seconds": None, "false_reject_rate": None})


def test_adapted_tensors_live_as_long(server: Embedded, http: httpx.Client) -> None:
    """A store that does not evict would keep them for the life that the model had before."""
    model = adapt(http, drawn(2, 1, first=3030), ttl_seconds=90_000)
    path = f"/v1/models/{model['id']}"
    http.patch(f"{path}/classes/{model['classes'][0]['name']}", json={"name": "renamed"})
    link = server.data / RECORDS_LINK
    with redis.Redis(unix_socket_path=str(link.readlink().with_name("weights.sock"))) as weights:
        lives = {name: weights.ttl(name) for name in weights.scan_iter("il:local:weights:*")}
        http.patch(path, json={"ttl_seconds": 3600})
        changed = {name: ttl for name, ttl in lives.items() if weights.ttl(name) < ttl - 1000}
        assert list(changed.values()) == [pytest.approx(90_000, abs=100)]
        assert weights.ttl(next(iter(changed))) == pytest.approx(3600, abs=100)


def test_rejecting_nothing(http: httpx.Client, path: str) -> None:
    """A rate of 0 rejects nothing; null goes back to the meta-model's threshold."""
    strangers = [png(3900 + i, 0) for i in range(40)]
    model = path.rsplit("/", 1)[-1]
    before = [r["rejected"] for r in predict(http, model, strangers)]
    assert any(before)
    assert http.patch(path, json={"false_reject_rate": 0}).json()["false_reject_rate"] == 0
    assert not any(r["rejected"] for r in predict(http, model, strangers))
    assert http.patch(path, json={"false_reject_rate": None}).json()["false_reject_rate"] is None
    assert [r["rejected"] for r in predict(http, model, strangers)] == before


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"nmae": "x"}, "invalid_request", "/nmae"),
        ({"name": "x" * 201}, "invalid_request", "/name"),
        ({"name": "\x1b]0;title\x07"}, "invalid_request", "/name"),
        ({"ttl_seconds": 5}, "invalid_request", "/ttl_seconds"),
        ({"ttl_seconds": 10**9}, "invalid_request", "/ttl_seconds"),
        ({"stable": 2}, "invalid_request", "/stable"),
        ({"stable": None}, "invalid_request", "/stable"),
        ({"false_reject_rate": 1.5}, "invalid_request", "/false_reject_rate"),
        ({"false_reject_rate": 0.999}, "rejection_not_calibrated", "/false_reject_rate"),
    ],
)
def test_refusals_name_the_field(http: httpx.Client, path: str, body: dict[str, Any], code: str, pointer: str) -> None:
    before = http.get(path).json()
    problem = assert_problem(http.patch(path, json=body), 422, code)
    assert problem["errors"][0]["pointer"] == pointer
    assert http.get(path).json() == before


def test_if_match_guards_lost_updates(http: httpx.Client, path: str) -> None:
    tag = http.get(path).headers["etag"]
    first = http.patch(path, json={"name": "one"}, headers={"If-Match": tag})
    assert first.status_code == 200
    assert first.headers["etag"] != tag
    assert_problem(http.patch(path, json={"name": "two"}, headers={"If-Match": tag}), 412, "lost_update")
    assert http.get(path).json()["name"] == "one"
    several = f"{tag}, {first.headers['etag']}"
    assert http.patch(path, json={"name": "two"}, headers={"If-Match": several}).status_code == 200
    assert http.patch(path, json={"name": "three"}, headers={"If-Match": "*"}).status_code == 200
    lines = [("If-Match", '"0"'), ("If-Match", http.get(path).headers["etag"])]
    assert http.patch(path, json={"name": "four"}, headers=lines).status_code == 200
    assert_problem(http.patch(path, json={"name": "x"}, headers={"If-Match": "3"}), 400, "malformed_request")


def test_the_same_content_under_another_name_is_a_change(http: httpx.Client) -> None:
    """It renames the model, so whoever holds the state before must not write over it."""
    body = {"support": support_of(drawn(2, 1, first=3010)), "name": "one", "ttl_seconds": 3600}
    first = http.post("/v1/models", json=body, headers={"Prefer": "wait=60"})
    path = first.headers["location"]
    tag = http.get(path).headers["etag"]
    assert tag == first.headers["etag"], "nothing happened in between"
    renamed = http.post("/v1/models", json={**body, "name": "two", "ttl_seconds": 60})
    assert (renamed.headers["location"], renamed.json()["name"]) == (path, "two")
    assert renamed.headers["etag"] == http.get(path).headers["etag"] != tag
    assert_problem(http.patch(path, json={"ttl_seconds": 60}, headers={"If-Match": tag}), 412, "lost_update")
    unnamed = {name: value for name, value in body.items() if name != "name"}
    same = http.post("/v1/models", json={**unnamed, "ttl_seconds": 60})
    assert same.json()["name"] == "two"
    assert same.headers["etag"] == renamed.headers["etag"], "nothing changed"
    longer = http.post("/v1/models", json={**unnamed, "ttl_seconds": 7200})
    assert longer.headers["etag"] != same.headers["etag"]
    assert http.patch(path, json={"name": "x"}, headers={"If-Match": longer.headers["etag"]}).status_code == 200


def test_an_adaptation_moves_the_tag_and_is_no_lost_update(http: httpx.Client) -> None:
    body = {"support": support_of(drawn(2, 2, first=3020)), "meta_model": "omniglot-maml"}
    accepted = http.post("/v1/models", json=body, headers={"Prefer": "respond-async"})
    path = accepted.headers["location"]
    measured(http, settled(http, path))
    ready = http.get(path)
    assert ready.headers["etag"] != accepted.headers["etag"], "it shows another status"
    assert http.get(path).headers["etag"] == ready.headers["etag"]
    patched = http.patch(path, json={"name": "x"}, headers={"If-Match": accepted.headers["etag"]})
    assert patched.status_code == 200, "no client changed anything in between"
    assert_problem(http.patch(path, json={}, headers={"If-Match": ready.headers["etag"]}), 412, "lost_update")


def test_only_json_is_taken(http: httpx.Client, path: str) -> None:
    assert_problem(http.patch(path, content=b"name=x", headers={"Content-Type": "text/plain"}), 415)
    assert_problem(http.patch(path, content=b"{", headers={"Content-Type": "application/json"}), 400, "invalid_json")
    merge = {"Content-Type": "application/merge-patch+json"}
    assert http.patch(path, content=b'{"name": "merged"}', headers=merge).json()["name"] == "merged"


def test_absent_models_cannot_be_patched(http: httpx.Client) -> None:
    assert_problem(http.patch("/v1/models/mdl_absent", json={"name": "x"}), 404, "not_found")
