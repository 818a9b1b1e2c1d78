"""Reads a stream of server-sent events (WHATWG HTML, section 9.2). Sends nothing."""

from __future__ import annotations

import json
import re
from typing import Any

from innerloop.client.steps import Request, path_of

_LINE_END = re.compile(rb"\r\n|\n|\r(?=.)", re.DOTALL)
"""A carriage return with nothing after it may be half of one."""


def events_request(model_id: str, after: str | None, accept: str) -> Request:
    """A model's events, as `accept` says, from event `after` on.

    Raises:
        TypeError, ValueError: no id of a model, or of an event.
    """
    if after is not None and not isinstance(after, str):
        raise TypeError(f"after is the id of an event, found {type(after).__name__}; of an event it is event['id']")
    if after is not None and not (after and after.isascii() and after.isprintable()):
        raise ValueError(f"{after!r:.60} is no id of an event")
    last = {} if after is None else {"Last-Event-ID": after}
    return Request("GET", f"{path_of(model_id)}/events", headers={"Accept": accept, **last})


class EventReader:
    """Bytes of one connection in, events out; one that was cut off is never half told.

    `id` and `event` stand in the data too, so that nothing but the data is read.
    """

    def __init__(self) -> None:
        self._unread = b""
        self._data: list[bytes] = []

    def read(self, received: bytes) -> list[dict[str, Any]]:
        """The events that end in what was received."""
        self._unread += received
        *lines, self._unread = _LINE_END.split(self._unread)
        events: list[dict[str, Any]] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line.removeprefix(b"data:").removeprefix(b" "))
            elif not line and self._data:
                events.append(json.loads(b"\n".join(self._data)))
                self._data = []
        return events
