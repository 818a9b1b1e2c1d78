"""Listing newest first, page by page; deleting for good."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import httpx
import pytest

from tests.asking import adapt, assert_problem, drawn, support_of
from tests.drawings import inputs_json


@pytest.fixture
def five(http: httpx.Client) -> Iterator[list[str]]:
    """Five models, the oldest first."""
    made = [adapt(http, drawn(2, 1, first=2700 + 2 * i), name=f"model {i}") for i in range(5)]
    yield [m["id"] for m in made]
    for model in made:
        http.delete(f"/v1/models/{model['id']}")


def pages(http: httpx.Client, limit: int) -> list[list[str]]:
    """Every page of the listing, as ids."""
    found, after = [], None
    while True:
        answer = http.get("/v1/models", params={"limit": limit, **({"after": after} if after else {})})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert set(page) >= {"data", "has_more", "next_cursor"}
        found.append([m["id"] for m in page["data"]])
        assert page["has_more"] == (page["next_cursor"] is not None)
        if not page["has_more"]:
            return found
        assert len(page["data"]) == limit
        after = page["next_cursor"]


def test_newest_first_in_pages_that_miss_and_repeat_nothing(http: httpx.Client, five: list[str]) -> None:
    whole = http.get("/v1/models", params={"limit": 100}).json()
    ids = [m["id"] for m in whole["data"]]
    assert ids[:5] == five[::-1]
    # As times: a whole second is written without a fraction, and would sort behind its own milliseconds.
    created = [datetime.fromisoformat(m["created_at"]) for m in whole["data"]]
    assert created == sorted(created, reverse=True)
    for limit in (2, 7, 100):
        listed = [id for page in pages(http, limit) for id in page]
        assert listed[: len(ids)] == ids
        assert len(set(listed)) == len(listed)


def test_listed_models_are_what_get_answers(http: httpx.Client, five: list[str]) -> None:
    listed = http.get("/v1/models", params={"limit": 5}).json()["data"]
    assert listed == [http.get(f"/v1/models/{id}").json() for id in five[::-1]]


def test_new_models_do_not_shift_the_pages(http: httpx.Client, five: list[str]) -> None:
    first = http.get("/v1/models", params={"limit": 2}).json()
    newer = adapt(http, drawn(2, 1, first=2720))
    second = http.get("/v1/models", params={"limit": 2, "after": first["next_cursor"]}).json()
    assert [m["id"] for m in second["data"]] == five[2:0:-1]
    http.delete(f"/v1/models/{newer['id']}")


def test_deleting_while_paging_loses_nothing(http: httpx.Client, five: list[str]) -> None:
    """The usual way to empty an account: list a page, delete it, follow the cursor."""
    first = http.get("/v1/models", params={"limit": 2}).json()
    for model in first["data"]:
        assert http.delete(f"/v1/models/{model['id']}").status_code == 204
    second = http.get("/v1/models", params={"limit": 2, "after": first["next_cursor"]})
    assert second.status_code == 200, second.text
    assert [m["id"] for m in second.json()["data"]] == five[2:0:-1]


def test_deleted_is_gone_everywhere(http: httpx.Client, five: list[str]) -> None:
    victim = five[2]
    answer = http.delete(f"/v1/models/{victim}")
    assert answer.status_code == 204
    assert answer.content == b""
    assert victim not in [id for page in pages(http, 100) for id in page]
    assert_gone(http, victim)
    others = [id for id in five if id != victim]
    assert [m["id"] for m in http.get("/v1/models", params={"limit": 4}).json()["data"]] == others[::-1]
    for other in others:
        answer = http.post(f"/v1/models/{other}/predictions", json={"inputs": inputs_json([2700])})
        assert answer.status_code == 200


def test_predictions_in_memory_do_not_outlive_the_model(http: httpx.Client) -> None:
    """Adapted tensors that the API has at hand answer nothing once their model is deleted."""
    model = adapt(http, drawn(2, 1, first=2730))["id"]
    url, body = f"/v1/models/{model}/predictions", {"inputs": inputs_json([2730])}
    assert http.post(url, json=body).status_code == 200
    assert http.delete(f"/v1/models/{model}").status_code == 204
    assert_problem(http.post(url, json=body), 404, "not_found")


def test_deleted_while_adapting_is_gone_too(http: httpx.Client) -> None:
    body = {
        "support": support_of(drawn(3, 1, first=2740)),
        "meta_model": "omniglot-maml",
        "adaptation": {"inner_steps": 20},
    }
    model = http.post("/v1/models", json=body, headers={"Prefer": "respond-async"}).json()["id"]
    assert http.delete(f"/v1/models/{model}").status_code == 204
    assert_gone(http, model)
    # The one worker takes the next job only once the deleted one's is behind it.
    adapt(http, drawn(2, 1, first=2745))
    assert_gone(http, model)


def test_one_of_many_deletes_at_once_wins(http: httpx.Client) -> None:
    model = adapt(http, drawn(2, 1, first=2750))["id"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: http.delete(f"/v1/models/{model}"), range(8)))
    assert sorted(a.status_code for a in answers) == [204] + [404] * 7


ABSENT = ["mdl_" + "0" * 32, "mdl_x", "x", "mdl_" + "a" * 2000, "%00", "mdl_é", "..%2F..%2Fetc", "*", "mdl_[a-f0-9]*"]


@pytest.mark.parametrize("id", ABSENT)
def test_absent_ids(http: httpx.Client, id: str) -> None:
    assert_gone(http, id)


def assert_gone(http: httpx.Client, id: str) -> None:
    """404 in every route that takes an id."""
    requests = [
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/predictions", {"inputs": inputs_json([0])}),
    ]
    for method, tail, body in requests:
        answer = http.request(method, f"/v1/models/{id}{tail}", json=body)
        assert answer.status_code == 404, f"{method} …{tail}: {answer.text}"
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert answer.json()["code"] == "not_found"
        assert not answer.json()["retryable"]


def test_a_model_that_changed_is_not_deleted(http: httpx.Client) -> None:
    model = adapt(http, drawn(2, 1, first=2790))
    path = f"/v1/models/{model['id']}"
    seen = http.get(path).headers["etag"]
    assert http.patch(path, json={"name": "another"}).status_code == 200
    assert_problem(http.delete(path, headers={"If-Match": seen}), 412, "lost_update")
    assert http.delete(path, headers={"If-Match": http.get(path).headers["etag"]}).status_code == 204
    assert_problem(http.get(path), 404)
