"""What a client reads whose request is not HTTP, so that no route ever sees it: a problem document all the same."""

from __future__ import annotations

import secrets
import sys

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api import problems


class Protocol(HttpToolsProtocol):
    """uvicorn's own, named to it by its `http` setting; where that answers 400 in plain text, this words it."""

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
