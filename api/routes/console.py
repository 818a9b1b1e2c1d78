"""`/`: the page for people, which asks the same routes as any other client."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parents[1] / "console"

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""It runs its own scripts and talks to its own server, whatever labels and names contain."""


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


async def _page(_: object) -> Response:
    return FileResponse(FOLDER / "index.html", headers=HEADERS)


def install(app: FastAPI) -> None:
    """Outside the described API: it has no parameters, and nobody writes a client for it."""
    app.add_route("/", _page, methods=["GET"], include_in_schema=False)
    app.mount("/console", _Files(directory=FOLDER))
