"""Sends what the flows ask for, and again where that can help."""

from __future__ import annotations

import asyncio
import functools
import inspect
import random
import ssl
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from innerloop.client import flows, vector_flows
from innerloop.client.errors import InnerloopHTTPError, ServerUnreachable, error_of
from innerloop.client.steps import Flow, Pause, Request

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8321"
TRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds; pauses double from the first to the longest. Those after broken connections add up to 11 to 23 s, in which
`innerloop serve` has started a part of it again that died."""

LONGEST_WAIT = 60.0
"""A `Retry-After` above this many seconds is raised, not slept."""


def jitter(attempt: int, retry_after: float | None = None) -> float:
    """Seconds before attempt `attempt` + 1: what the server asks for, then anything up to a doubling bound.

    Full jitter (Brooker 2015, "Exponential Backoff and Jitter"): clients that failed together do not return together.
    """
    return (retry_after or 0) + random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt))  # noqa: S311


def lost_pause(attempt: int) -> float:
    """Seconds before attempt `attempt` + 1 after a broken connection: half a doubling bound up to the whole."""
    bound = min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)
    return random.uniform(bound / 2, bound)  # noqa: S311


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Reading the certificates takes longer than a request: once a process."""
    return httpx.create_ssl_context()


def _described_by(flow: Callable[..., Any]) -> Callable[[T], T]:
    """Name, words and signature of a method that runs `flow`, for whoever asks Python about it."""

    def describe(method: T) -> T:
        told = inspect.signature(flow)
        returned = str(told.return_annotation).removeprefix("Flow[").removesuffix("]")
        me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        functools.update_wrapper(method, flow)  # pyright: ignore[reportArgumentType] - a function
        del method.__wrapped__  # pyright: ignore[reportAttributeAccessIssue] - it takes no self
        parameters = [me, *told.parameters.values()]
        method.__signature__ = told.replace(parameters=parameters, return_annotation=returned)  # pyright: ignore[reportAttributeAccessIssue]
        return method

    return describe


class _Base:
    """What both clients share: which answers and failures are worth another try."""

    def __init__(self, url: str, api_key: str | None, timeout: float, tries: int) -> None:
        key = (api_key or "").strip()  # as it comes of a file
        if not (key.isascii() and key.isprintable()):
            raise ValueError("the API key has characters in it that no key has; copy it again")
        if not (isinstance(timeout, int | float) and timeout > 0):
            raise ValueError(f"timeout is a number of seconds above 0, not {timeout!r}")
        if tries < 1:
            raise ValueError(f"tries is at least 1, the first attempt, not {tries!r}")
        url = url.rstrip("/").removesuffix("/v1")
        self._settings: dict[str, Any] = {
            "base_url": url,
            "headers": {"Authorization": f"Bearer {key}"} if key else {},
            "timeout": timeout,
            "verify": _trusted(),
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
        try:
            wanted = float(answer.headers.get("Retry-After", ""))
        except ValueError:
            wanted = None
        error = error_of(_problem(answer), wanted)
        # Whether to wait for a day's quota is the caller's to decide.
        if wanted is not None and wanted > LONGEST_WAIT:
            raise error
        # A proxy in front of a restarting server answers 502 and 504 without a problem document.
        if attempt + 1 == self._tries or not (error.problem.get("retryable") or error.status in (502, 504)):
            raise error
        return jitter(attempt, wanted)

    def _lost(self, attempt: int, error: httpx.TransportError) -> float:
        """The same after a connection that failed; every request here may be sent twice.

        Raises:
            ServerUnreachable: it failed every time.
            TimeoutError: the server took too long; it would again.
            ValueError: the client's `url` is no address.
        """
        if isinstance(error, httpx.UnsupportedProtocol):
            raise ValueError(f"{self._url!r} is no address of a server: it begins with http:// or https://") from error
        if isinstance(error, httpx.ReadTimeout):
            raise TimeoutError(f"{self._url} did not answer within the client's timeout") from error
        if attempt + 1 == self._tries:
            raise ServerUnreachable(
                f"no server at {self._url}; start one with `innerloop serve` ({error or type(error).__name__})"
            ) from error
        return lost_pause(attempt)


class Client(_Base):
    """Talks to one server and waits for each answer.

    Args:
        url: where it is.
        api_key: sent as a bearer token where given.
        timeout: seconds for an answer; calls that wait for the server's work take longer of themselves.
        tries: attempts at each request.
    """

    def __init__(
        self, url: str = DEFAULT_URL, api_key: str | None = None, timeout: float = 120, tries: int = TRIES
    ) -> None:
        super().__init__(url, api_key, timeout, tries)
        self._http = httpx.Client(**self._settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def run(self, flow: Flow[T]) -> T:
        """Do what a flow asks until it returns."""
        resume: Callable[[], Request | Pause] = functools.partial(next, flow)
        while True:
            try:
                step = resume()
            except StopIteration as end:
                return end.value
            try:
                resume = functools.partial(flow.send, self._do(step))
            except (InnerloopHTTPError, OSError) as error:
                resume = functools.partial(flow.throw, error)

    def _do(self, step: Request | Pause) -> httpx.Response | None:
        if isinstance(step, Request):
            return self._send(step)
        time.sleep(step.seconds)
        return None

    def _send(self, request: Request) -> httpx.Response:
        for attempt in range(self._tries):
            try:
                answer = self._http.request(**self._arguments(request))
            except httpx.TransportError as error:
                time.sleep(self._lost(attempt, error))
                continue
            if answer.is_success or _was_deleted(request, attempt, answer):
                return answer
            time.sleep(self._after(attempt, answer))
        raise AssertionError("unreachable")

    @staticmethod
    def _method(flow: Callable[P, Flow[T]]) -> Callable[Concatenate[Client, P], T]:
        @_described_by(flow)
        def method(self: Client, *args: P.args, **kwargs: P.kwargs) -> T:
            return self.run(flow(*args, **kwargs))

        return method

    adapt = _method(flows.adapt)
    adapt_vectors = _method(vector_flows.adapt_vectors)
    add_examples = _method(flows.add_examples)
    cancel = _method(flows.cancel)
    classify = _method(flows.classify)
    delete = _method(flows.delete)
    evaluate = _method(flows.evaluate)
    examples = _method(flows.examples)
    export = _method(flows.export)
    limits = _method(flows.limits)
    meta_models = _method(flows.meta_models)
    model = _method(flows.model)
    models = _method(flows.models)
    predict = _method(flows.predict)
    predict_vectors = _method(vector_flows.predict_vectors)
    preview = _method(flows.preview)
    quality = _method(flows.quality)


class AsyncClient(_Base):
    """The same calls as `Client`, to be awaited."""

    def __init__(
        self, url: str = DEFAULT_URL, api_key: str | None = None, timeout: float = 120, tries: int = TRIES
    ) -> None:
        super().__init__(url, api_key, timeout, tries)
        self._http = httpx.AsyncClient(**self._settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """Do what a flow asks until it returns."""
        resume: Callable[[], Request | Pause] = functools.partial(next, flow)
        while True:
            try:
                step = resume()
            except StopIteration as end:
                return end.value
            try:
                resume = functools.partial(flow.send, await self._do(step))
            except (InnerloopHTTPError, OSError) as error:
                resume = functools.partial(flow.throw, error)

    async def _do(self, step: Request | Pause) -> httpx.Response | None:
        if isinstance(step, Request):
            return await self._send(step)
        await asyncio.sleep(step.seconds)
        return None

    async def _send(self, request: Request) -> httpx.Response:
        for attempt in range(self._tries):
            try:
                answer = await self._http.request(**self._arguments(request))
            except httpx.TransportError as error:
                await asyncio.sleep(self._lost(attempt, error))
                continue
            if answer.is_success or _was_deleted(request, attempt, answer):
                return answer
            await asyncio.sleep(self._after(attempt, answer))
        raise AssertionError("unreachable")

    @staticmethod
    def _method(flow: Callable[P, Flow[T]]) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
        @_described_by(flow)
        async def method(self: AsyncClient, *args: P.args, **kwargs: P.kwargs) -> T:
            return await self.run(flow(*args, **kwargs))

        return method

    adapt = _method(flows.adapt)
    adapt_vectors = _method(vector_flows.adapt_vectors)
    add_examples = _method(flows.add_examples)
    cancel = _method(flows.cancel)
    classify = _method(flows.classify)
    delete = _method(flows.delete)
    evaluate = _method(flows.evaluate)
    examples = _method(flows.examples)
    export = _method(flows.export)
    limits = _method(flows.limits)
    meta_models = _method(flows.meta_models)
    model = _method(flows.model)
    models = _method(flows.models)
    predict = _method(flows.predict)
    predict_vectors = _method(vector_flows.predict_vectors)
    preview = _method(flows.preview)
    quality = _method(flows.quality)


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict) and "code" in problem:
        return problem
    return {"code": "not_innerloop", "status": answer.status_code, "detail": answer.text[:200]}


def _was_deleted(request: Request, attempt: int, answer: httpx.Response) -> bool:
    """Whether an earlier attempt, whose answer was lost, did what this one asks for."""
    return attempt > 0 and request.method == "DELETE" and answer.status_code == 404
