"""Browser pages of other origins: what they may ask and read, where the operator names them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

READABLE = (
    "Allow",
    "Content-Disposition",
    "ETag",
    "Idempotent-Replayed",
    "Innerloop-Parity",
    "Innerloop-Version",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-Id",
)
"""Headers of answers that browsers would hide from a page of another origin."""


class NamedOrigins(CORSMiddleware):
    """Starlette's, for the origins that were named; to all others the answers are as without it."""

    def __init__(self, app: ASGIApp, origins: list[str]) -> None:
        # Keys go by `Authorization`, which a page sends by itself: no cookies, so no credentials in the sense of CORS.
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=["*"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=READABLE,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self.is_allowed_origin(Headers(scope=scope).get("origin", "")):
            await self.simple_response(scope, receive, send, request_headers=Headers())  # says `Vary: Origin`
        else:
            await super().__call__(scope, receive, send)


def install(app: FastAPI, origins: list[str]) -> None:
    """Around everything, also around what answers 500."""
    inner: Any = app.build_middleware_stack
    if origins:
        app.build_middleware_stack = lambda: NamedOrigins(inner(), origins)
