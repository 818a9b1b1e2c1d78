"""Sends what the flows ask for, and again where that can help."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from innerloop.client import flows, growth_flows, model_flows, vector_flows
from innerloop.client.errors import InnerloopHTTPError
from innerloop.client.following import AsyncFollowing, Following
from innerloop.client.patience import TRIES, is_done
from innerloop.client.steps import Flow, Pause, Request

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8321"


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


class Client(Following):
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
            except httpx.RequestError as error:
                time.sleep(self._lost(attempt, error))
                continue
            if is_done(request, attempt, answer):
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
    cancel = _method(model_flows.cancel)
    classify = _method(flows.classify)
    delete = _method(model_flows.delete)
    evaluate = _method(flows.evaluate)
    events = _method(model_flows.events)
    examples = _method(flows.examples)
    export = _method(flows.export)
    limits = _method(flows.limits)
    meta_models = _method(flows.meta_models)
    model = _method(model_flows.model)
    models = _method(model_flows.models)
    predict = _method(flows.predict)
    predict_vectors = _method(vector_flows.predict_vectors)
    preview = _method(flows.preview)
    quality = _method(model_flows.quality)
    remove_class = _method(growth_flows.remove_class)
    remove_example = _method(growth_flows.remove_example)
    rename_class = _method(growth_flows.rename_class)
    update = _method(model_flows.update)
    version = _method(model_flows.version)
    versions = _method(model_flows.versions)


class AsyncClient(AsyncFollowing):
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
            except httpx.RequestError as error:
                await asyncio.sleep(self._lost(attempt, error))
                continue
            if is_done(request, attempt, answer):
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
    cancel = _method(model_flows.cancel)
    classify = _method(flows.classify)
    delete = _method(model_flows.delete)
    evaluate = _method(flows.evaluate)
    events = _method(model_flows.events)
    examples = _method(flows.examples)
    export = _method(flows.export)
    limits = _method(flows.limits)
    meta_models = _method(flows.meta_models)
    model = _method(model_flows.model)
    models = _method(model_flows.models)
    predict = _method(flows.predict)
    predict_vectors = _method(vector_flows.predict_vectors)
    preview = _method(flows.preview)
    quality = _method(model_flows.quality)
    remove_class = _method(growth_flows.remove_class)
    remove_example = _method(growth_flows.remove_example)
    rename_class = _method(growth_flows.rename_class)
    update = _method(model_flows.update)
    version = _method(model_flows.version)
    versions = _method(model_flows.versions)
