"""Around every request: an id, what the caller may still do, and bounds on the body's size, encoding and time."""

from __future__ import annotations

import asyncio
import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapter.config import Settings
from adapter.errors import InnerloopError, MalformedRequest, RequestTimeout, Stopping, TooLarge, UnsupportedMediaType
from api import problems
from api.elements import joined
from api.room import LARGE, LARGEST_AT_ONCE, Room

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


class Boundary:
    """Refuses bodies that are too large, encoded or too slow before a route sees them, and large ones that come while
    there is no room for them."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._max_bytes = settings.max_body_bytes
        self._seconds = settings.body_timeout_seconds
        self._room = Room(LARGEST_AT_ONCE * self._max_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["headers"] = joined(scope["headers"])
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(8)}"
        scope.setdefault("state", {})["request_id"] = request_id
        started, bodiless = False, scope["method"] == "HEAD"
        if bodiless:  # whoever probes with HEAD gets what GET would say, without the body
            scope["method"] = "GET"

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if bodiless:  # the server reads it too: it would wait for the body that the headers announce
                    scope["method"] = "HEAD"
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers.update(scope["state"].get("answer_headers", {}))
            elif bodiless:
                message = {**message, "body": b""}
            await send(message)

        body = _Body(receive, headers, self._max_bytes, self._seconds, self._room)
        try:
            self._check(headers)
            await self._app(scope, body.receive, send_with_id)
        except asyncio.CancelledError:  # the server stops, and the time it leaves for that is over
            if started:
                raise
            stopping = Stopping("this server is stopping; send the request again")
            await problems.of(stopping, scope["path"], request_id)(scope, receive, send)
        except InnerloopError as error:  # raised by `receive`, outside the routes' handlers
            if started:
                raise
            await problems.of(error, scope["path"], request_id)(scope, receive, send)
        finally:
            body.let_go()

    def _check(self, headers: Headers) -> None:
        encoding = headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise UnsupportedMediaType(f"Content-Encoding {encoding!r} is not accepted; send the body as it is")
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise MalformedRequest(f"Content-Length must be a number, not {length!r}")
        if int(length) > self._max_bytes:
            raise TooLarge(f"the body has {length} bytes, at most {self._max_bytes}", code="body_too_large")


class _Body:
    """A request's body on its way in. A large one takes room until the request is answered, for so long is it held."""

    def __init__(self, receive: Receive, headers: Headers, most: int, seconds: float, room: Room) -> None:
        self._receive = receive
        self._headers = headers
        self._most = most
        self._seconds = seconds
        self._room = room
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._seen = self._held = 0
        self._done = False

    async def receive(self) -> Message:
        """The next message.

        Raises:
            RequestTimeout, TooLarge, UploadsFull: the body is too slow, too large, or one too many.
        """
        if self._done:
            return await self._receive()
        await self._find_room()
        left = self._deadline - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError as error:
            raise RequestTimeout(f"the body did not arrive within {self._seconds:g} s", retry_after=1) from error
        self._seen += len(message.get("body", b""))
        self._done = not message.get("more_body", False)
        if self._seen > self._most:
            raise TooLarge(f"the body has more than {self._most} bytes", code="body_too_large")
        return message

    def let_go(self) -> None:
        self._room.give(self._held)
        self._held = 0

    async def _find_room(self) -> None:
        announced = int(self._headers.get("content-length", 0))
        if self._held or max(announced, self._seen) <= LARGE:
            return
        loop = asyncio.get_running_loop()
        began, size = loop.time(), announced or self._most  # in chunks nobody knows
        await self._room.take(size)
        self._held = size
        self._deadline += loop.time() - began
