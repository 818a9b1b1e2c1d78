"""A server that asks for no key answers programs of its own machine, and no page of another site."""

from __future__ import annotations

import httpx
import pytest

from tests.asking import assert_problem, drawn, support_of


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8321", "Origin": "http://evil.example:8321"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[::1"},
        {"Origin": "http://[x"},
    ],
)
def test_another_sites_page_is_refused(http: httpx.Client, headers: dict[str, str]) -> None:
    assert_problem(http.get("/v1/models", headers=headers), 403, "another_site")
    support = support_of(drawn(2, 1, first=3))
    assert_problem(http.post("/v1/models", json={"support": support}, headers=headers), 403, "another_site")


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "[::1]:8321", "127.0.0.2:1"])
def test_names_of_this_machine_are_answered(http: httpx.Client, host: str) -> None:
    assert http.get("/v1/models", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200


def test_the_page_of_operations_loads_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.status_code == 200
    assert '"syntaxHighlight": false' in page.text, "or it stands still for seconds over the list of meta-models"
    assert "http" not in page.text
    for part in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert part in page.text
        assert http.get(f"/static-offline-docs/{part}").status_code == 200
