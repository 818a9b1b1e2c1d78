"""Rate limits, quotas and usage as a key's holder meets them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from adapter.config import Settings
from adapter.keys import Key, KeyStore, Quota
from adapter.store import connect
from api.keyring import FRESH_SECONDS
from innerloop.client import Client
from innerloop.client.errors import QuotaExceeded
from innerloop.embedded import Embedded, records_url
from tests.asking import adapt, assert_problem, drawn, predict
from tests.drawings import inputs_json, png, support_json
from tests.e2e.test_keys import command

pytestmark = pytest.mark.usefixtures("one_day")

Make = Callable[..., tuple[httpx.Client, Key]]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    with Embedded(Settings(port=0, data_dir=tmp_path_factory.mktemp("quotas"))) as running:
        yield running


@pytest.fixture
def holding(guarded: Embedded, request: pytest.FixtureRequest) -> Iterator[Make]:
    """A client with a new key of a new owner and this quota."""
    made: list[httpx.Client] = []

    def make(**limits: int) -> tuple[httpx.Client, Key]:
        owner = f"{request.node.originalname}-{len(made)}"[-64:]
        with connect(records_url(guarded.settings)) as client:
            key, text = KeyStore(client).create(owner, quota=Quota(**limits))
        time.sleep(FRESH_SECONDS)
        headers = {"Authorization": f"Bearer {text}"}
        made.append(httpx.Client(base_url=guarded.url, timeout=60, headers=headers))
        return made[-1], key

    yield make
    for client in made:
        client.close()


def left(http: httpx.Client) -> dict[str, Any]:
    return http.get("/v1/limits").json()["quota"]


def test_requests_of_a_minute(holding: Make) -> None:
    http, _ = holding(requests_per_minute=5)
    other, _ = holding(requests_per_minute=5)
    answers = [http.get("/v1/models") for _ in range(5)]
    assert [a.status_code for a in answers] == [200] * 5
    assert {a.headers["RateLimit-Policy"] for a in answers} == {'"requests";q=5;w=60'}
    remaining = [re.fullmatch(r'"requests";r=(\d+);t=(\d+)', a.headers["RateLimit"]) for a in answers]
    assert [int(m[1]) for m in remaining if m] == [4, 3, 2, 1, 0]
    for refused in (http.get("/v1/models"), http.post("/v1/models", json={})):
        problem = assert_problem(refused, 429, "rate_limited")
        assert problem["retryable"]
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["RateLimit"].startswith('"requests";r=0;')
    assert http.get("/healthz").status_code == 200, "health asks for no key"
    unseen = [other.get("/v1/nothing"), other.put("/v1/models"), other.get("/v1/models?nothing=1")]
    assert [(a.status_code, "RateLimit" in a.headers) for a in unseen] == [(404, False), (405, False), (422, False)]
    assert other.get("/v1/models").headers["RateLimit"].startswith('"requests";r=4;'), "only this one is counted"


def test_without_a_limit_there_are_no_headers(http: httpx.Client) -> None:
    """On a loopback server without keys nothing is limited."""
    answer = http.get("/v1/limits")
    assert "RateLimit" not in answer.headers
    said = answer.json()
    assert said["key"]["id"] == "local"
    assert {allowance["limit"] for allowance in said["quota"].values()} == {None}


def test_limits_say_what_is_left(holding: Make) -> None:
    http, key = holding(requests_per_minute=100, adaptations_per_day=5, stored_models=4, stored_bytes=10**6)
    model = adapt(http, drawn(2, 1, first=8300))["id"]
    support = {"support": support_json(2, 1), "inputs": inputs_json([0])}
    assert http.post("/v1/classify", json=support).status_code == 200
    said = http.get("/v1/limits").json()
    assert said["key"] == {
        "id": key.id,
        "owner": key.owner,
        "name": "",
        "scopes": ["predict", "adapt"],
        "expires_at": None,
    }
    quota = said["quota"]
    assert quota["adaptations_per_day"]["remaining"] == 3
    assert 0 < quota["adaptations_per_day"]["more_in_seconds"] <= 86400
    assert quota["stored_models"] == {"limit": 4, "remaining": 3, "more_in_seconds": None}
    assert 0 < quota["stored_bytes"]["remaining"] < 10**6
    before = quota["requests_per_minute"]["remaining"]
    assert left(http)["requests_per_minute"]["remaining"] == before - 1
    http.delete(f"/v1/models/{model}")
    assert left(http)["stored_models"]["remaining"] == 4
    assert left(http)["stored_bytes"]["remaining"] == 10**6


def test_over_the_quota(holding: Make) -> None:
    http, _ = holding(stored_models=1)
    adapt(http, drawn(2, 1, first=8310))
    adapt(http, drawn(2, 1, first=8310))
    refused = http.post("/v1/models", json={"support": support_json(2, 1, first=8320)})
    assert "1 stored models" in assert_problem(refused, 429, "quota_exceeded")["detail"]
    body = {"support": support_json(2, 1), "inputs": inputs_json([0])}
    assert http.post("/v1/classify", json=body).status_code == 200, "keeps nothing"


def test_a_change_of_a_model_is_bounded_too(holding: Make) -> None:
    http, _ = holding(adaptations_per_day=1)
    path = f"/v1/models/{adapt(http, drawn(2, 1, first=8330))['id']}"
    refused = http.post(f"{path}/examples", json={"examples": support_json(1, 1, first=8340)})
    assert_problem(refused, 429, "quota_exceeded")
    renamed = http.patch(f"{path}/classes/class 0", json={"name": "zero"})
    assert renamed.status_code == 200, "adapts nothing"


def test_the_client_does_not_sleep_until_tomorrow(guarded: Embedded, holding: Make) -> None:
    http, _ = holding(stored_models=1)
    adapt(http, drawn(2, 1, first=8350))
    key = http.headers["Authorization"].removeprefix("Bearer ")
    with Client(guarded.url, key) as client, pytest.raises(QuotaExceeded) as refused:
        client.adapt([("a", png(8360, 0)), ("b", png(8361, 0))])
    assert refused.value.retry_after is not None
    assert refused.value.retry_after > 3600


def test_usage_is_counted_and_shown_to_both(guarded: Embedded, holding: Make) -> None:
    http, key = holding()
    model = adapt(http, drawn(2, 1, first=8370))["id"]
    predict(http, model, [png(8370, 9)] * 3)
    http.post(f"/v1/models/{model}/evaluations", json={"queries": support_json(2, 2, first=8370)})
    deadline = time.monotonic() + 30
    while (today := http.get("/v1/limits").json()["usage"][0])["predictions"] < 7:
        assert time.monotonic() < deadline, today
        time.sleep(0.05)
    assert (today["adaptations"], today["predictions"]) == (1, 7)
    assert 0 < today["adapt_seconds"] < 60
    assert command(guarded.data, "usage", key.id) == [today]
    assert "no key" in command(guarded.data, "usage", "key_none", expect=1)["error"]["detail"]
