"""What every flow is made of: requests and pauses, following what was accepted, batches and a progress bar."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from innerloop.client.errors import AdaptationFailed, error_of
from innerloop.client.inputs import contents

if TYPE_CHECKING:
    from innerloop.client.inputs import Input

T = TypeVar("T")

BATCH_BYTES = 16 * 2**20
"""Most bytes of inputs in one request."""

ONE_WAIT = 60.0
"""Seconds that one request waits for an adaptation; after that it is asked for again and again."""

BAR_FROM = 500
"""Inputs from which a progress bar is worth its lines."""


@dataclass(frozen=True)
class Request:
    """To be sent, again where it may be; what comes back is a response of success."""

    method: str
    path: str
    json: Any = None
    content: bytes | None = None
    data: dict[str, Any] | None = None
    files: dict[str, tuple[str, bytes]] | None = None
    """`json`, `content`, or the fields and files of a form."""
    params: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0
    """How long the server may take to answer, where that is longer than the client's timeout."""


@dataclass(frozen=True)
class Pause:
    """To be slept."""

    seconds: float


Flow = Generator[Request | Pause, Any, T]
"""Is sent the `httpx.Response` to each request."""


def followed(
    path: str,
    wait: float,
    place: Callable[[dict[str, Any]], str],
    headers: dict[str, str] | None = None,
    **body: Any,
) -> Flow[dict[str, Any]]:
    """Post under an idempotency key of its own; follow what was accepted, at `place`, until it is ready."""
    at_once = min(wait, ONE_WAIT)
    sent = {"Idempotency-Key": secrets.token_hex(16), "Prefer": f"wait={at_once:.3f}", **(headers or {})}
    deadline = time.monotonic() + wait
    found = (yield Request("POST", path, headers=sent, seconds=at_once + 10, **body)).json()
    where, pause = place(found), 0.1
    while found["status"] in ("queued", "adapting"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{where} is still {found['status']} after {wait:g} s")
        yield Pause(pause)
        pause = min(1.0, 1.5 * pause)
        found = (yield Request("GET", where)).json()
    if found["status"] == "failed":
        error = error_of({"status": 422, **found["error"]})
        raise error if isinstance(error, AdaptationFailed) else AdaptationFailed(error.problem)
    if found["status"] != "ready":
        detail = f"adapting {where} was canceled; adapt again to get a model"
        raise error_of({"status": 409, "code": found["status"], "detail": detail, "instance": where})
    return found


def model_path(accepted: dict[str, Any]) -> str:
    """Where a new model is."""
    return path_of(accepted["id"])


def path_of(model_id: str) -> str:
    """Where a model is.

    Raises:
        TypeError, ValueError: it is no id.
    """
    return f"/v1/models/{segment(model_id)}"


def segment(name: str) -> str:
    """An id as one part of a path. A server takes `%2F` for the slash that it stands for, so that is refused.

    Raises:
        TypeError: it is no text.
        ValueError: it would name something else: it is empty, has a slash in it, or is what paths go up by.
    """
    if not isinstance(name, str):
        raise TypeError(f"an id is a text, found {type(name).__name__}; of a model it is model['id']")
    if name in ("", ".", "..") or "/" in name:
        raise ValueError(f"{name!r:.60} is no id")
    return quote(name, safe="")


def batches(inputs: Iterable[Input], most: int) -> Iterator[list[bytes | str]]:
    part: list[bytes | str] = []
    size = 0
    for data in contents(inputs):
        if part and (len(part) == most or size + len(data) > BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(data)
        size += len(data)
    if part:
        yield part


@contextmanager
def bar(doing: str, total: int, shown: bool | None) -> Iterator[Any]:
    """A rich progress bar on standard error; yields what advances it."""
    if shown is False or (shown is None and total < BAR_FROM):
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if shown is None and not console.is_terminal:
        yield lambda n: None
        return
    with Progress(console=console, transient=True) as shown_bar:
        task = shown_bar.add_task(doing, total=total)
        yield lambda n: shown_bar.advance(task, n)
