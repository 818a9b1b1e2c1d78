"""Promise 6, nobody else's: another key's model answers 404, in every route, under concurrency."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from adapter.config import Settings
from innerloop.embedded import Embedded
from tests.asking import adapt, assert_problem, best, drawn, predict, support_of
from tests.drawings import inputs_json, png, support_json

OWNERS = ("anna", "bert")

BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("patch", "/v1/models/{model_id}"): {"name": "mine"},
    ("post", "/v1/models/{model_id}/examples"): {"examples": support_json(1, 1, first=8900)},
    ("patch", "/v1/models/{model_id}/classes/{name}"): {"name": "mine"},
    ("post", "/v1/models/{model_id}/predictions"): {"inputs": inputs_json([8800])},
    ("post", "/v1/models/{model_id}/exports"): {"format": "safetensors"},
    ("post", "/v1/models/{model_id}/evaluations"): {"queries": support_of(drawn(1, 1, first=8800))},
}
"""What would be done if the model were one's own."""

NAMES = {"name": "class 0", "number": "1", "example_id": "ex_0"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service of two API processes and two owners, each with the key `key-OWNER`."""
    entries = [f"{owner}:{hashlib.sha256(f'key-{owner}'.encode()).hexdigest()}" for owner in OWNERS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INNERLOOP_API_KEYS", ",".join(entries))
        patch.setenv("INNERLOOP_API_PROCESSES", "2")
        with Embedded(Settings(port=0, data_dir=tmp_path_factory.mktemp("guarded"))) as running:
            yield running.url


def as_owner(url: str, owner: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=60, headers={"Authorization": f"Bearer key-{owner}"})


def requests_for(document: dict[str, Any], model_id: str) -> list[tuple[str, str, dict[str, Any] | None]]:
    """Every operation on a model, as the served document lists them."""
    found: list[tuple[str, str, dict[str, Any] | None]] = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "{model_id}" in path:
                body = BODIES[method, path] if "requestBody" in operation else None
                found.append((method, path.format(model_id=model_id, **NAMES), body))
    return found


def test_another_keys_model_is_404_in_every_route_under_concurrency(guarded: str) -> None:
    document = httpx.get(f"{guarded}/openapi.json").json()
    with as_owner(guarded, "anna") as anna, as_owner(guarded, "bert") as bert, ThreadPoolExecutor(16) as pool:
        mine = adapt(anna, drawn(2, 1, first=8800), meta_model="omniglot-maml")["id"]
        tried = requests_for(document, mine)
        assert len(tried) >= 15

        def ask(request: tuple[str, str, dict[str, Any] | None]) -> tuple[httpx.Response, httpx.Response]:
            method, path, body = request
            answers = [bert.request(method, p, json=body) for p in (path, path.replace(mine, "mdl_absent"))]
            return answers[0], answers[1]

        def use(_: int) -> list[str]:
            return best(predict(anna, mine, [png(8800, 9), png(8801, 9)]))

        used = pool.map(use, range(60))
        asked = list(pool.map(ask, itertools.chain.from_iterable([tried] * 5)))
        assert list(used) == [["class 0", "class 1"]] * 60
        for other, absent in asked:
            problem = assert_problem(other, 404, "not_found")
            # Not even the wording tells that the model is there.
            assert problem["detail"].replace(mine, "mdl_absent") == absent.json()["detail"]
        assert bert.get("/v1/models").json()["data"] == []
        now = anna.get(f"/v1/models/{mine}").json()
        assert (now["name"], now["latest_version"], now["status"]) == (None, 1, "ready")


def test_the_same_content_and_idempotency_key_are_two_models_for_two_owners(guarded: str) -> None:
    body = {"support": support_json(2, 1, first=8850)}
    headers = {"Idempotency-Key": "same", "Prefer": "wait=60"}
    with as_owner(guarded, "anna") as anna, as_owner(guarded, "bert") as bert, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda who: who.post("/v1/models", json=body, headers=headers), [anna, bert] * 10))
        assert {a.status_code for a in answers} == {201}
        ids = [{a.json()["id"] for a in answers[place::2]} for place in (0, 1)]
        assert [len(i) for i in ids] == [1, 1]
        assert not ids[0] & ids[1]
        listed = [{m["id"] for m in who.get("/v1/models").json()["data"]} for who in (anna, bert)]
        assert ids[0] <= listed[0]
        assert ids[1] == listed[1]


def test_a_stream_of_another_keys_events_is_404(guarded: str) -> None:
    with as_owner(guarded, "anna") as anna, as_owner(guarded, "bert") as bert:
        mine = adapt(anna, drawn(2, 1, first=8870))["id"]
        assert_problem(bert.get(f"/v1/models/{mine}/events", headers={"Accept": "text/event-stream"}), 404)
