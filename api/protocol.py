"""Connections before and after what routes see: requests that are not HTTP, too large in front of their body or never
there, wishes for another protocol, and the end."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from adapter.errors import HeadTooLarge, InnerloopError, MalformedRequest, UrlTooLong
from api import problems

LET_GO = "let_go"
"""What of the application's state is called when the server is told to stop."""

COUNT = "count"
"""What of it is told of an answer that the application knows nothing of: method, route, status, seconds."""

HEAD_SECONDS = 20
"""For a request's first line and headers."""

REST_SECONDS = 30
"""For what is left of a request that is answered already."""

LINGER_SECONDS = 1
"""What arrives that long behind a refusal is thrown away: a connection closed over it would take the answer along."""

MAX_HEAD_BYTES = 64 * 2**10
"""Of a request's first line and headers, and of whatever else stands between two bytes of a body."""

MAX_URL_BYTES = 8 * 2**10


class Protocol(HttpToolsProtocol):
    """uvicorn's own, named to it by its `http` setting; where that answers 400 in plain text, this words it."""

    url = b""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._due: asyncio.TimerHandle | None = None
        self._in_head = self._in_body = self._refused = False
        self._lines = 0  # bytes since a head or a message ended or a body went on
        self._went_on = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Whoever connects has something to say."""
        super().connection_made(transport)
        self._expect(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        """In pieces, between which lines without an end are noticed: the parser tells of a line once it is whole."""
        rest = memoryview(data)
        while rest and not self._refused:
            piece, rest = rest[:MAX_HEAD_BYTES], rest[MAX_HEAD_BYTES:]
            self._feed(piece)

    def on_message_begin(self) -> None:
        """The first line of a request begins."""
        self._unset_keepalive_if_required()
        self._expect(HEAD_SECONDS)
        self._in_head = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            raise UrlTooLong(f"the URL has more than {MAX_URL_BYTES} bytes; send what is long in a body")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of the head: trailers come when a request's headers were looked at, and nobody asked for them."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Its headers are here; the body has a time of its own."""
        self._went_on = True
        if self._reads_again():
            return
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            raise _head_too_large()
        self._forget()
        self._in_head, self._in_body = False, True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._went_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of a request is here."""
        self._went_on = True
        super().on_message_complete()
        if self._in_body and self.cycle.response_complete:
            self._expect(self.timeout_keep_alive)
        self._in_body = False

    def on_response_complete(self) -> None:
        """A request is answered; what comes next, or is still on its way, has its time."""
        super().on_response_complete()
        if self._in_head or self._in_body:
            self._unset_keepalive_if_required()
        if self._in_body and self.cycle.response_complete:
            self._expect(REST_SECONDS)

    def eof_received(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Whoever has asked, and says that no more will come, may still wait for the answer; whoever hears it already,
        or has not asked, is gone."""
        cycle = self.cycle
        if self._refused or not cycle or cycle.more_body or cycle.response_started:
            return False
        self._forget()
        cycle.keep_alive = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is expected any more."""
        self._forget()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server is told to stop: what waits in the application is answered."""
        self.app_state.get(LET_GO, lambda: None)()
        super().shutdown()

    def _feed(self, data: bytes | memoryview) -> None:
        self._went_on = False
        try:
            self.parser.feed_data(data)
            self._lines = 0 if self._went_on else self._lines + len(data)
            if self._lines > MAX_HEAD_BYTES:
                raise _head_too_large()
        except httptools.HttpParserUpgrade as left_off:
            if self._reads_again():
                self._read_again(bytes(data[left_off.args[0] :]))
        except InnerloopError as error:
            self._refuse(error)
        except httptools.HttpParserError as error:
            why = error.__context__
            if not isinstance(why, InnerloopError):
                what = "send one of its methods, a path, headers and a length"
                why = MalformedRequest(f"this is no request of HTTP/1.1: {error}; {what}")
            self._refuse(why)

    def _should_upgrade(self) -> bool:
        """What uvicorn asks of a request with which the parser leaves off: whether to keep it from the application."""
        return self._reads_again()

    def _reads_again(self) -> bool:
        """Whether the parser leaves off behind this head though it is HTTP/1.1, for it wishes for another protocol."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _read_again(self, rest: bytes) -> None:
        """HTTP/1.1 it stays, as a server may decide (RFC 9110, 7.8): the head without the wish, then what follows."""
        version, method = self.parser.get_http_version().encode(), self.parser.get_method()
        lines = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        head = b"\r\n".join([b"%b %b HTTP/%b" % (method, self.url, version), *lines, b"", b""])
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._feed(head + rest)

    def _refuse(self, error: InnerloopError) -> None:
        """Answer and close: where the next request begins, nobody can tell."""
        self.logger.warning("a request is refused: %s", error.code)
        self._refused = True
        cycle, answered, under_way = self.cycle, False, False
        if cycle:
            under_way = not cycle.response_complete
            answered = cycle.response_started and (self._in_body or under_way)
            if under_way:  # the application has nobody left to answer
                cycle.disconnected = True
                cycle.message_event.set()
        if answered:
            self.transport.close()
            return
        if not under_way and COUNT in self.app_state:
            method = self.parser.get_method().decode() if self.url else ""
            self.app_state[COUNT](method, "none", error.status, 0.0)
        path = "" if isinstance(error, UrlTooLong) else self.url.decode("ascii", "replace")
        answer = problems.of(error, path, f"req_{secrets.token_hex(8)}")
        head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
        self.transport.write(STATUS_LINE[error.status] + head + b"connection: close\r\n\r\n" + bytes(answer.body))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._expect(LINGER_SECONDS)

    def _expect(self, seconds: float) -> None:
        """Close the connection unless something happens by then."""
        self._forget()
        self._due = self.loop.call_later(seconds, self.transport.close)

    def _forget(self) -> None:
        if self._due is not None:
            self._due.cancel()


def _head_too_large() -> HeadTooLarge:
    return HeadTooLarge(
        f"what stands around a request's body, its URL, headers and trailers, has more than {MAX_HEAD_BYTES} bytes"
    )
