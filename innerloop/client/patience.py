"""Which answers and failures are worth another try, and when."""

from __future__ import annotations

import functools
import ipaddress
import random
import ssl
from typing import Any

import httpx

from innerloop.client.errors import ServerUnreachable, error_of
from innerloop.client.steps import Request

TRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds; pauses double from the first to the longest. Those after broken connections add up to 11 to 23 s, in which
`innerloop serve` has started a part of it again that died."""

OURS = "X-Request-Id"
"""A header of every answer of Innerloop's, and of few others."""

LONGEST_TIMEOUT = 7 * 86_400.0
"""Seconds; no socket takes infinity."""

LONGEST_WAIT = 60.0
"""A `Retry-After` above this many seconds is raised, not slept."""


def jitter(attempt: int, retry_after: float | None = None) -> float:
    """Seconds before attempt `attempt` + 1: what the server asks for, then anything up to a doubling bound.

    Full jitter (Brooker 2015, "Exponential Backoff and Jitter"): clients that failed together do not return together.
    """
    return (retry_after or 0) + random.uniform(0, _bound(attempt))  # noqa: S311


def lost_pause(attempt: int) -> float:
    """Seconds before attempt `attempt` + 1 after a broken connection: half a doubling bound up to the whole."""
    bound = _bound(attempt)
    return random.uniform(bound / 2, bound)  # noqa: S311


def _bound(attempt: int) -> float:
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt, 100))  # no float holds the 1,024th doubling


@functools.cache
def trusted() -> ssl.SSLContext:
    """Reading the certificates takes longer than a request: once a process."""
    return httpx.create_ssl_context()


def is_here(url: str) -> bool:
    """Whether an address is of this machine, where no proxy is asked for.

    Raises:
        ValueError: it is no address.
    """
    try:
        host = httpx.URL(url).host
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r:.100} is no address of a server: {error}") from error
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Patient:
    """What both clients share: which answers and failures are worth another try."""

    def __init__(self, url: str, api_key: str | None, timeout: float, tries: int) -> None:
        key = (api_key or "").strip()  # as it comes of a file
        if not (key.isascii() and key.isprintable()):
            raise ValueError("the API key has characters in it that no key has; copy it again")
        if not (isinstance(timeout, int | float) and timeout > 0):
            raise ValueError(f"timeout is a number of seconds above 0, not {timeout!r}")
        if tries < 1:
            raise ValueError(f"tries is at least 1, the first attempt, not {tries!r}")
        timeout, url = min(timeout, LONGEST_TIMEOUT), url.rstrip("/").removesuffix("/v1")
        self._settings: dict[str, Any] = {
            "base_url": url,
            "headers": {"Authorization": f"Bearer {key}"} if key else {},
            "timeout": timeout,
            "verify": trusted(),
            "trust_env": not is_here(url),  # HTTP_PROXY and its like
        }
        self._url, self._timeout, self._tries = url, timeout, tries

    def _arguments(self, request: Request) -> dict[str, Any]:
        return {
            "method": request.method,
            "url": request.path,
            "json": request.json,
            "content": request.content,
            "data": request.data,
            "files": request.files,
            "params": request.params,
            "headers": request.headers,
            "timeout": max(self._timeout, request.seconds),
        }

    def _after(self, attempt: int, answer: httpx.Response) -> float:
        """Seconds to wait before trying again.

        Raises:
            InnerloopHTTPError: trying again is no use.
        """
        wanted = _retry_after(answer)
        error = error_of(problem_of(answer), wanted)
        error.attempts = attempt + 1
        # Whether to wait for a day's quota is the caller's to decide.
        if wanted is not None and wanted > LONGEST_WAIT:
            raise error
        # A proxy in front of a restarting server answers 502 and 504 without a problem document.
        if attempt + 1 == self._tries or not (error.problem.get("retryable") or error.status in (502, 504)):
            raise error
        return jitter(attempt, wanted)

    def _lost(self, attempt: int, error: httpx.RequestError) -> float:
        """The same after a connection that failed, or damaged the answer; every request here may be sent twice.

        Raises:
            ServerUnreachable: it failed every time.
            TimeoutError: the server took too long; it would again.
            ValueError: the client's `url` is no address.
        """
        if isinstance(error, httpx.UnsupportedProtocol):
            raise ValueError(f"{self._url!r} is no address of a server: it begins with http:// or https://") from error
        if isinstance(error, httpx.ReadTimeout):
            raise TimeoutError(f"{self._url} did not answer within the client's timeout") from error
        if attempt + 1 == self._tries and isinstance(error, httpx.DecodingError):
            raise ServerUnreachable(f"what {self._url} answers cannot be read: {error}") from error
        if attempt + 1 == self._tries:
            raise ServerUnreachable(
                f"no server at {self._url}; start one with `innerloop serve` ({error or type(error).__name__})"
            ) from error
        return lost_pause(attempt)

    def _ended(self, attempt: int, error: httpx.RequestError | None = None) -> float:
        """The same after a stream that broke, was silent for too long, or (no `error`) that the server ended.

        Raises:
            ServerUnreachable: it brought nothing, every time.
            ValueError: the client's `url` is no address.
        """
        if error is not None and not isinstance(error, httpx.ReadTimeout):
            return self._lost(attempt, error)
        if attempt + 1 == self._tries:
            raise ServerUnreachable(f"{self._url} ends every stream of events before it brings anything")
        return lost_pause(attempt)


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    """What a server refuses, or that something else answers."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict) and "code" in problem and not answer.is_success:
        return problem
    told = " ".join(answer.text.split())[:200]
    detail = f"{answer.url.copy_with(query=None)} is answered by something else than Innerloop: {told or 'nothing'}"
    return {"code": "not_innerloop", "status": answer.status_code, "detail": detail}


def is_done(request: Request, attempt: int, answer: httpx.Response) -> bool:
    """Whether the server did what a request asks for, by this attempt or by an earlier one, whose answer was lost."""
    was_deleted = attempt > 0 and request.absent_is_done and answer.status_code == 404
    return was_deleted or (answer.is_success and OURS in answer.headers)


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds that a server asks to wait, where it gives a number of them."""
    try:
        wanted = float(answer.headers.get("Retry-After", ""))
    except ValueError:
        return None
    return wanted if wanted >= 0 else None  # NaN is not either
