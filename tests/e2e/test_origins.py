"""A page of another origin asks a real service by the rules of browsers (CORS)."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from adapter.config import Settings
from innerloop.embedded import Embedded
from tests.asking import assert_problem, drawn, support_of

PAGE = "https://app.example.org"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,idempotency-key,prefer",
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Asks as a browser does for the page."""
    settings = Settings(port=0, data_dir=tmp_path_factory.mktemp("origins"), allowed_origins=f"{PAGE}, http://other")
    with (
        Embedded(settings) as running,
        httpx.Client(base_url=running.url, headers={"Origin": PAGE}, timeout=60) as client,
    ):
        yield client


def test_a_named_origin_may_send_what_clients_send(page: httpx.Client) -> None:
    for method in ("POST", "PATCH", "DELETE"):
        answer = page.options("/v1/models", headers={**PREFLIGHT, "Access-Control-Request-Method": method})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-headers"] == PREFLIGHT["Access-Control-Request-Headers"]
        assert method in answer.headers["access-control-allow-methods"]
        assert "access-control-allow-credentials" not in answer.headers


def test_it_reads_answers_and_errors(page: httpx.Client) -> None:
    made = page.post("/v1/models", json={"support": support_of(drawn(2, 1, first=11_000))})
    assert made.status_code == 201, made.text
    absent, wrong = page.get("/v1/models/mdl_absent"), page.post("/v1/models", json={"support": []})
    assert_problem(absent, 404)
    assert_problem(wrong, 422)
    for answer in (made, absent, wrong):
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "access-control-allow-credentials" not in answer.headers
        readable = answer.headers["access-control-expose-headers"].lower().split(", ")
        assert {"location", "etag", "x-request-id"} & set(answer.headers) <= set(readable)


@pytest.mark.parametrize("origin", ["https://evil.example", f"{PAGE}:444", f"{PAGE}.evil.example", "null"])
def test_any_other_origin_is_told_nothing(page: httpx.Client, origin: str) -> None:
    preflight = page.options("/v1/models", headers={"Origin": origin, **PREFLIGHT})
    asked = page.get("/v1/models", headers={"Origin": origin})
    assert_problem(preflight, 405)
    assert_problem(asked, 403, "another_site")
    for answer in (preflight, asked):
        assert [name for name in answer.headers if name.startswith("access-control")] == []


def test_where_none_is_named_there_is_none(http: httpx.Client) -> None:
    answer = http.options("/v1/models", headers={"Origin": PAGE, **PREFLIGHT})
    assert_problem(answer, 405)
    assert [name for name in answer.headers if name.startswith("access-control")] == []
