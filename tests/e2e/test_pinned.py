"""Pinned to a version, and retried changes: what a second call of a growing model must not do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from meta_models.exported import ExportedClassifier
from tests.asking import adapt, assert_problem, drawn, support_of
from tests.drawings import inputs_json, png

WAIT = {"Prefer": "wait=60"}


@pytest.fixture(scope="module")
def grown(module_http: httpx.Client) -> str:
    """Path of a model whose second version has a third class."""
    path = f"/v1/models/{adapt(module_http, drawn(2, 2, first=7000))['id']}"
    added = {"examples": support_of([("new", png(7002, i)) for i in range(2)])}
    assert module_http.post(f"{path}/examples", json=added, headers=WAIT).status_code == 201
    return path


@pytest.mark.parametrize(("asked", "version"), [(1, 1), (2, 2), ("stable", 1), ("latest", 2), (None, 2)])
def test_a_body_can_pin_its_version(http: httpx.Client, grown: str, asked: int | str | None, version: int) -> None:
    body = {"inputs": inputs_json([7002]), "version": asked}
    answer = http.post(f"{grown}/predictions", json=body).json()
    assert answer["version"] == version
    assert len(answer["results"][0]["scores"]) == version + 1
    if asked is not None:
        form = http.post(
            f"{grown}/predictions", files={"inputs": ("q.png", png(7002, 9))}, data={"version": str(asked)}
        )
        assert form.json()["version"] == version


def test_query_and_body_must_agree(http: httpx.Client, grown: str) -> None:
    body = {"inputs": inputs_json([7002]), "version": 1}
    assert http.post(f"{grown}/predictions?version=1", json=body).json()["version"] == 1
    assert_problem(http.post(f"{grown}/predictions?version=2", json=body), 422, "invalid_request")


def test_no_such_version(http: httpx.Client, grown: str) -> None:
    inputs = inputs_json([7002])
    assert_problem(http.post(f"{grown}/predictions", json={"inputs": inputs, "version": 9}), 404, "not_found")
    for wrong in (0, -1, "1", "newest", True, 1.5):
        answer = http.post(f"{grown}/predictions", json={"inputs": inputs, "version": wrong})
        assert_problem(answer, 422, "invalid_request")
    form = http.post(f"{grown}/predictions", files={"inputs": ("q.png", png(7002, 9))}, data={"version": "x"})
    assert_problem(form, 422, "invalid_request")
    assert_problem(http.post(f"{grown}/exports?version=9", json={"format": "onnx"}), 404, "not_found")


def test_an_old_version_can_be_evaluated_and_taken_away(http: httpx.Client, grown: str) -> None:
    queries = {"queries": support_of([("class 0", png(7000, 9))])}
    for version in (1, 2):
        report = http.post(f"{grown}/evaluations", params={"version": version}, json=queries).json()
        assert report["version"] == version
        exported = http.post(f"{grown}/exports", params={"version": version}, json={"format": "onnx"})
        assert exported.status_code == 200, exported.text
        assert len(ExportedClassifier(exported.content).about.classes) == version + 1
    assert '.2.onnx"' in exported.headers["content-disposition"]


def test_an_added_example_is_added_once_however_often_it_is_sent(http: httpx.Client) -> None:
    """Content alone would not do: between the two sendings someone took the example away again."""
    path = f"/v1/models/{adapt(http, drawn(2, 2, first=7020))['id']}"
    body, key = {"examples": support_of([("new", png(7022, 0))])}, {**WAIT, "Idempotency-Key": "add-new"}
    first = http.post(f"{path}/examples", json=body, headers=key)
    assert (first.status_code, first.json()["version"]) == (201, 2)
    assert http.delete(f"{path}/classes/new", headers=WAIT).json()["version"] == 3
    again = http.post(f"{path}/examples", json=body, headers=key)
    assert (again.status_code, again.json()["version"]) == (201, 2)
    assert again.headers["idempotent-replayed"] == "true"
    by_form = http.post(f"{path}/examples", files={"examples[new]": ("0.png", png(7022, 0))}, headers=key)
    assert by_form.json()["version"] == 2, "the content is the same, the bytes of the request are not"
    assert http.get(path).json()["latest_version"] == 3
    without = http.post(f"{path}/examples", json=body, headers=WAIT)
    assert without.json()["version"] == 4


def test_a_retry_is_not_a_lost_update(http: httpx.Client) -> None:
    answer = http.get(path := f"/v1/models/{adapt(http, drawn(2, 2, first=7030))['id']}")
    headers = {**WAIT, "Idempotency-Key": "guarded", "If-Match": answer.headers["etag"]}
    body = {"examples": support_of([("new", png(7032, 0))])}
    versions = [http.post(f"{path}/examples", json=body, headers=headers).json()["version"] for _ in range(3)]
    assert versions == [2, 2, 2]
    fresh = {**headers, "Idempotency-Key": "another"}
    other = {"examples": support_of([("newer", png(7033, 0))])}
    assert_problem(http.post(f"{path}/examples", json=other, headers=fresh), 412, "lost_update")


def test_a_key_stands_for_one_content_of_one_model(http: httpx.Client) -> None:
    paths = [f"/v1/models/{adapt(http, drawn(2, 2, first=first))['id']}" for first in (7040, 7045)]
    key = {**WAIT, "Idempotency-Key": "one-content"}
    body, other = ({"examples": support_of([("new", png(7050, i))])} for i in range(2))
    assert http.post(f"{paths[0]}/examples", json=body, headers=key).json()["version"] == 2
    problem = assert_problem(http.post(f"{paths[0]}/examples", json=other, headers=key), 409, "idempotency_key_in_use")
    assert "one-content" in problem["detail"]
    assert http.post(f"{paths[1]}/examples", json=other, headers=key).json()["version"] == 2
    # What brings nothing new is remembered too.
    known = {"examples": support_of(drawn(1, 1, first=7040))}
    nothing = {**WAIT, "Idempotency-Key": "nothing"}
    assert http.post(f"{paths[0]}/examples", json=known, headers=nothing).json()["version"] == 2
    assert_problem(http.post(f"{paths[0]}/examples", json=other, headers=nothing), 409, "idempotency_key_in_use")


def test_thirty_at_once_add_once(http: httpx.Client) -> None:
    path = f"/v1/models/{adapt(http, drawn(2, 2, first=7060))['id']}"
    body, key = {"examples": support_of([("new", png(7062, 0))])}, {**WAIT, "Idempotency-Key": "thirty"}
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: http.post(f"{path}/examples", json=body, headers=key), range(30)))
    assert {(a.status_code, a.json()["version"]) for a in answers} == {(201, 2)}
    assert http.get(path).json()["latest_version"] == 2
