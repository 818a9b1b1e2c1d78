"""Connections before and after what routes see: requests that are not HTTP, those that never begin, and the end."""

from __future__ import annotations

import asyncio
import secrets
import sys
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api import problems

LET_GO = "let_go"
"""What of the application's state is called when the server is told to stop."""

HEAD_SECONDS = 20
"""For a request's first line and headers."""


class Protocol(HttpToolsProtocol):
    """uvicorn's own, named to it by its `http` setting; where that answers 400 in plain text, this words it."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._head_is_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Whoever connects has something to say."""
        super().connection_made(transport)
        self._expect_head()

    def on_message_begin(self) -> None:
        """The first line of a request begins."""
        self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its headers are here; the body has a time of its own."""
        self._forget_head()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is expected any more."""
        self._forget_head()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server is told to stop: what waits in the application is answered."""
        self.app_state.get(LET_GO, lambda: None)()
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Answer and close: where the next request begins, nobody can tell."""
        why = sys.exception() or msg
        answer = problems.problem(
            self.url.decode("ascii", "replace"),
            f"req_{secrets.token_hex(8)}",
            status=400,
            code="malformed_request",
            title="Malformed request",
            detail=f"this is no request of HTTP/1.1: {why}; send one of its methods, a path, headers and a length",
        )
        head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
        self.transport.write(STATUS_LINE[400] + head + b"connection: close\r\n\r\n" + bytes(answer.body))
        self.transport.close()

    def _expect_head(self) -> None:
        self._forget_head()
        self._head_is_due = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _forget_head(self) -> None:
        if self._head_is_due is not None:
            self._head_is_due.cancel()
