"""Promise 5: the same Idempotency-Key or the same content never makes two models; a duplicate costs no adaptation."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from innerloop.embedded import Embedded
from tests.asking import adapt, archive_of, assert_problem, drawn, in_folders, predict, settled, support_of
from tests.drawings import png
from tests.faults.victim import asleep, until


def listed(http: httpx.Client) -> list[str]:
    return [model["id"] for model in http.get("/v1/models", params={"limit": 100}).json()["data"]]


def test_same_content_twice_is_one_model_adapted_once(http: httpx.Client) -> None:
    examples = drawn(3, 1, first=2500)
    first = adapt(http, examples, name="once")
    before = listed(http)
    for again in (adapt(http, examples, name="once"), adapt(http, examples[::-1], name="once")):
        assert again["id"] == first["id"]
        assert again["timings_ms"] == first["timings_ms"], "adapted a second time"
        assert again["created_at"] == first["created_at"]
    assert listed(http) == before


def test_same_key_same_content_is_one_model(http: httpx.Client) -> None:
    examples, key = drawn(3, 1, first=2510), {"Idempotency-Key": "same-same"}
    body = {"support": support_of(examples), "name": "keyed"}
    answers = [http.post("/v1/models", json=body, headers=key) for _ in range(3)]
    assert [a.status_code for a in answers] == [201] * 3, [a.text for a in answers]
    assert len({a.json()["id"] for a in answers}) == 1


def test_same_key_other_content_is_refused(http: httpx.Client) -> None:
    key = {"Idempotency-Key": "same-other"}
    first = http.post("/v1/models", json={"support": support_of(drawn(2, 1, first=2520))}, headers=key)
    assert first.status_code == 201, first.text
    before = listed(http)
    other = http.post("/v1/models", json={"support": support_of(drawn(2, 1, first=2525))}, headers=key)
    problem = assert_problem(other, 409, "idempotency_key_in_use")
    assert "same-other" in problem["detail"]
    assert listed(http) == before
    assert http.get(first.headers["location"]).status_code == 200


def test_refused_request_does_not_use_up_its_key(http: httpx.Client) -> None:
    key = {"Idempotency-Key": "mended"}
    examples = support_of(drawn(2, 1, first=2530))
    assert_problem(http.post("/v1/models", json={"support": examples[:1]}, headers=key), 422, "too_few_classes")
    assert http.post("/v1/models", json={"support": examples}, headers=key).status_code == 201


def test_other_keys_same_content_is_one_model(http: httpx.Client) -> None:
    """A client that makes a new key for each try is safe too."""
    body = {"support": support_of(drawn(2, 1, first=2535))}
    answers = [http.post("/v1/models", json=body, headers={"Idempotency-Key": f"try-{i}"}) for i in range(3)]
    assert [a.status_code for a in answers] == [201] * 3
    assert len({a.json()["id"] for a in answers}) == 1


@pytest.mark.parametrize("key", [None, "hundred"])
def test_a_hundred_at_once_is_one_model(http: httpx.Client, key: str | None) -> None:
    examples = drawn(3, 2, first=2540 if key else 2550)
    headers = {"Prefer": "wait=60", **({"Idempotency-Key": key} if key else {})}
    before = listed(http)

    def post(number: int) -> httpx.Response:
        # Half of them as archives: the content is the same, the bytes of the request are not.
        if number % 2:
            return http.post("/v1/models", files=archive_of(in_folders(examples)), headers=headers)
        return http.post("/v1/models", json={"support": support_of(examples)}, headers=headers)

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(post, range(100)))
    assert {a.status_code for a in answers} == {201}, {a.text for a in answers if a.status_code != 201}
    models: list[dict[str, Any]] = [a.json() for a in answers]
    assert len({m["id"] for m in models}) == 1
    assert len({str(m["timings_ms"]) for m in models}) == 1, "adapted more than once"
    events = http.get(f"/v1/models/{models[0]['id']}/events", headers={"Accept": "application/json"}).json()["data"]
    assert [e["status"] for e in events if e["event"] == "status"] == ["queued", "adapting", "ready"]
    assert len(set(listed(http)) - set(before)) == 1


def test_thirty_contents_with_one_key_make_one_model(http: httpx.Client) -> None:
    bodies = [{"support": support_of(drawn(2, 1, first=2600 + 2 * i))} for i in range(30)]
    before = listed(http)

    def post(body: dict[str, Any]) -> httpx.Response:
        return http.post("/v1/models", json=body, headers={"Idempotency-Key": "contended", "Prefer": "wait=60"})

    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(post, bodies))
    won = [a for a in answers if a.status_code == 201]
    assert len(won) == 1
    for lost in answers:
        if lost is not won[0]:
            assert_problem(lost, 409, "idempotency_key_in_use")
    assert set(listed(http)) - set(before) <= {won[0].json()["id"]}


def test_duplicate_of_a_model_under_way_joins_it(http: httpx.Client) -> None:
    body = {
        "support": support_of(drawn(3, 1, first=2680)),
        "meta_model": "omniglot-maml",
        "adaptation": {"inner_steps": 20},
    }
    started = http.post("/v1/models", json=body, headers={"Prefer": "respond-async"})
    assert started.status_code == 202, started.text
    joined = http.post("/v1/models", json=body, headers={"Prefer": "wait=60"})
    assert joined.status_code == 201, joined.text
    assert joined.json()["id"] == started.json()["id"]
    assert joined.json()["timings_ms"] == settled(http, started.headers["location"])["timings_ms"]


def test_a_duplicate_of_a_model_that_is_deleted_meanwhile_is_adapted_anew(server: Embedded, http: httpx.Client) -> None:
    """Whoever began it hears that it was stopped; who only joined it did not mean the one that was deleted."""
    body = {
        "support": support_of(drawn(4, 8, first=2700)),
        "meta_model": "omniglot-maml",
        "adaptation": {"inner_steps": 50, "inner_lr": 0.001},
    }
    before = set(listed(http))

    def post(seconds: int) -> httpx.Response:
        return http.post("/v1/models", json=body, headers={"Prefer": f"wait={seconds}"})

    with asleep(server), ThreadPoolExecutor(2) as pool:
        began = pool.submit(post, 60)
        until(lambda: len(set(listed(http)) - before) == 1)
        joined = pool.submit(post, 2)
        time.sleep(0.5)  # it waits for the same model
        [first] = set(listed(http)) - before
        assert http.delete(f"/v1/models/{first}").status_code == 204
        assert_problem(began.result(), 409, "canceled")
        assert joined.result().status_code == 202, joined.result().text
    assert joined.result().json()["id"] != first
    assert http.delete(joined.result().headers["location"]).status_code == 204


def test_a_change_that_is_sent_again_is_made_once(http: httpx.Client) -> None:
    """Whatever was changed since: without its key the example would come back."""
    path = f"/v1/models/{adapt(http, drawn(2, 1, first=2710))['id']}"

    def add(key: str, kind: int, **more: str) -> httpx.Response:
        headers = {"Idempotency-Key": key, "Prefer": "wait=60", **more}
        body = {"examples": support_of([("new", png(kind, 0))])}
        return http.post(f"{path}/examples", json=body, headers=headers)

    tag = {"If-Match": http.get(path).headers["etag"]}
    first = add("change", 2713, **tag)
    assert first.status_code == 201, first.text
    assert "idempotent-replayed" not in first.headers
    nothing = add("nothing", 2713)
    assert (nothing.json()["version"], nothing.headers["idempotent-replayed"]) == (2, "true")
    removed = http.delete(f"{path}/classes/new", headers={"Prefer": "wait=60", "If-Match": first.headers["etag"]})
    assert removed.status_code == 200, removed.text
    for again in (add("change", 2713, **tag), add("nothing", 2713)):
        assert (again.status_code, again.json()["version"]) == (201, 2), again.text
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["etag"].startswith('"3-'), "the model's, as it is now"
    assert_problem(add("change", 2714), 409, "idempotency_key_in_use")
    assert http.get(path).json()["latest_version"] == 3


def test_a_change_that_was_stopped_may_be_tried_again_with_its_key(http: httpx.Client) -> None:
    slow = {"inner_steps": 50, "inner_lr": 0.001}
    path = f"/v1/models/{adapt(http, drawn(2, 1, first=2720), meta_model='omniglot-maml', adaptation=slow)['id']}"
    headers = {"Idempotency-Key": "stopped", "Prefer": "respond-async"}
    body = {"examples": support_of(drawn(4, 8, first=2723))}
    for version in (2, 3):
        begun = http.post(f"{path}/examples", json=body, headers=headers)
        assert (begun.status_code, begun.json()["version"]) == (202, version), begun.text
        assert http.post(f"{path}/cancel").status_code == 200
    assert http.delete(path).status_code == 204


def test_deleted_content_can_be_adapted_again(http: httpx.Client) -> None:
    examples = drawn(2, 1, first=2690)
    first = adapt(http, examples)
    assert http.delete(f"/v1/models/{first['id']}").status_code == 204
    second = adapt(http, examples)
    assert second["id"] != first["id"]
    assert predict(http, second["id"], [png(2691, 100)])[0]["scores"][0]["label"] == "class 1"


def test_a_duplicate_never_shortens_the_life_of_a_model(http: httpx.Client) -> None:
    examples = drawn(2, 1, first=2695)
    week = adapt(http, examples, ttl_seconds=604800)
    again = adapt(http, examples, ttl_seconds=60)
    assert again["id"] == week["id"]
    assert again["expires_at"] >= week["expires_at"]
