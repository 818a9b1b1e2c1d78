"""What every flow is made of: requests and pauses, following what was accepted, batches and a progress bar."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from innerloop.client.errors import AdaptationFailed, error_of
from innerloop.client.inputs import contents

if TYPE_CHECKING:
    import httpx

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
    absent_is_done: bool = False
    """Sent again and answered with 404, it did its work the first time."""


@dataclass(frozen=True)
class Pause:
    """To be slept."""

    seconds: float


Flow = Generator[Request | Pause, Any, T]
"""Is sent the `httpx.Response` to each request."""


class ModelState(dict[str, Any]):
    """A model, or a version of one, as JSON tells it; a dictionary in every other way."""

    _etag: str | None = None

    @classmethod
    def of(cls, answer: httpx.Response) -> ModelState:
        state = cls(answer.json())
        state._etag = answer.headers.get("ETag")
        return state

    @property
    def etag(self) -> str:
        """Names this state of the model: a change under it, as `if_match`, is refused once there was another.

        Raises:
            ValueError: it came without one, so that a change under it would be under no condition.
        """
        if self._etag is None:
            raise ValueError("this state came without an ETag; client.model(model_id) brings one")
        return self._etag


def matching(if_match: str | None) -> dict[str, str]:
    """The header of a change that is meant for a state of a model; none for any state.

    Raises:
        TypeError, ValueError: it is no ETag.
    """
    if if_match is None:
        return {}
    if not isinstance(if_match, str):
        raise TypeError(f"if_match is an ETag, found {type(if_match).__name__}; of a model it is model.etag")
    if not (if_match and if_match.isascii() and if_match.isprintable()):
        raise ValueError(f"{if_match!r:.60} is no ETag; of a model it is model.etag")
    return {"If-Match": if_match}


def once() -> dict[str, str]:
    """The header of a request that does its work once, however often it is sent."""
    return {"Idempotency-Key": secrets.token_hex(16)}


def followed(request: Request, wait: float | None, place: Callable[[dict[str, Any]], str]) -> Flow[ModelState]:
    """Send a change; follow what was accepted, at `place`, until it is ready.

    Without a `wait` it is what was accepted.
    """
    at_once = min(wait or 0, ONE_WAIT)
    prefer = "respond-async" if wait is None else f"wait={at_once:.3f}"
    deadline = time.monotonic() + (wait or 0)
    sent = replace(request, headers={"Prefer": prefer, **request.headers}, seconds=at_once + 10)
    found = ModelState.of((yield sent))
    return found if wait is None else (yield from until_ready(found, place(found), wait, deadline))


def until_ready(found: ModelState, where: str, wait: float, deadline: float) -> Flow[ModelState]:
    """What is at `where`, of which `found` is known, once it is ready.

    Raises:
        AdaptationFailed, Canceled: it will not be.
        TimeoutError: it is not at `deadline`, `wait` seconds after it was asked for.
    """
    found = yield from asked_again(
        found,
        where,
        lambda found: found["status"] not in ("queued", "adapting"),
        deadline,
        lambda found: f"{where} is still {found['status']} after {wait:g} s",
        pause=0.1,
    )
    if found["status"] == "failed":
        error = error_of({"status": 422, **found["error"]})
        raise error if isinstance(error, AdaptationFailed) else AdaptationFailed(error.problem)
    if found["status"] != "ready":
        detail = f"adapting {where} was canceled; adapt again to get a model"
        raise error_of({"status": 409, "code": found["status"], "detail": detail, "instance": where})
    return found


def asked_again(
    found: ModelState,
    where: str,
    is_done: Callable[[dict[str, Any]], bool],
    deadline: float,
    late: Callable[[dict[str, Any]], str],
    *,
    pause: float,
) -> Flow[ModelState]:
    """What is at `where`, of which `found` is known, once it is done; asked after a `pause`, then less and less often.

    A version is told without an ETag: it keeps the one under which it was accepted.

    Raises:
        TimeoutError: in the words of `late`, where it is not done at `deadline`.
    """
    while not is_done(found):
        if time.monotonic() > deadline:
            raise TimeoutError(late(found))
        yield Pause(pause)
        pause = min(1.0, 1.5 * pause)
        known = found
        found = ModelState.of((yield Request("GET", where)))
        found._etag = found._etag or known._etag
    return found


def pages(path: str, params: dict[str, Any]) -> Flow[list[dict[str, Any]]]:
    """A list of the server's to its end."""
    found: list[dict[str, Any]] = []
    while True:
        page = (yield Request("GET", path, params=params)).json()
        found += page["data"]
        if not page["has_more"]:
            return found
        params = {**params, "after": page["next_cursor"]}


def of_version(version: int | str | None) -> dict[str, Any]:
    """The query parameters that name it; none for the newest that is ready."""
    return {} if version is None else {"version": version}


def model_path(accepted: dict[str, Any]) -> str:
    """Where a new model is."""
    return path_of(accepted["id"])


def version_path(model_id: str, accepted: dict[str, Any]) -> str:
    """Where a new version of a model is."""
    return f"{path_of(model_id)}/versions/{accepted['version']}"


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
