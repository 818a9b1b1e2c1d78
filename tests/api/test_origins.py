"""What pages of other origins are told when something goes wrong, and that they may read all that clients need."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from adapter.config import Settings
from api.app import create_app
from api.origins import READABLE

PAGE = "https://app.example.org"


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/broken", 500), ("/stopping", 503)])
def test_errors_can_be_read_by_a_named_origin_alone(path: str, status: int) -> None:
    app = create_app(Settings(allowed_origins=PAGE))

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("broken")

    @app.get("/stopping")
    async def stopping() -> None:
        raise asyncio.CancelledError

    async def ask(origin: str) -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get(path, headers={"Origin": origin})

    named, other = asyncio.run(ask(PAGE)), asyncio.run(ask("https://evil.example"))
    assert named.status_code == other.status_code == status
    assert named.json()["code"] == other.json()["code"]
    assert named.headers["access-control-allow-origin"] == PAGE
    assert set(named.headers["access-control-expose-headers"].split(", ")) == set(READABLE)
    assert [name for name in other.headers if name.startswith("access-control")] == []
    assert named.headers["vary"] == other.headers["vary"] == "Origin"


def test_every_header_of_the_document_can_be_read() -> None:
    operations = [operation for path in create_app().openapi()["paths"].values() for operation in path.values()]
    answers = [answer for operation in operations for answer in operation["responses"].values()]
    sent = {header for answer in answers for header in answer.get("headers", {})}
    assert sent - {"Cache-Control", "Vary"} <= set(READABLE)
