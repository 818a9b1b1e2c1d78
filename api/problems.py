"""Every error becomes `application/problem+json` (RFC 9457)."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import http
import json
import logging
import math
from typing import Any

import redis
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from adapter.errors import ErrorItem, InnerloopError, MalformedRequest, StoreUnavailable
from adapter.redis_store import full

log = logging.getLogger("innerloop.api")

PROBLEM = "application/problem+json"


def install(app: FastAPI) -> None:
    """Register the handlers; nothing else in the API words an error."""
    app.add_exception_handler(InnerloopError, _innerloop)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(redis.RedisError, _redis)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unexpected)


def problem(
    path: str,
    request_id: str,
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    retryable: bool = False,
    retry_after: float | None = None,
    errors: list[ErrorItem] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """One problem document."""
    body: dict[str, Any] = {
        "type": f"urn:innerloop:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": path,
        "code": code,
        "request_id": request_id,
        "retryable": retryable,
        "errors": errors or [],
    }
    sent = {**(headers or {}), "X-Request-Id": request_id}
    if retry_after is not None:
        sent["Retry-After"] = str(max(1, math.ceil(retry_after)))
    return Response(json.dumps(body), status, sent, media_type=PROBLEM)


def of(error: InnerloopError, path: str, request_id: str) -> Response:
    """The problem document of one of our own errors."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return problem(
        path,
        request_id,
        status=error.status,
        code=error.code,
        title=error.title,
        detail=str(error),
        retryable=error.retryable,
        retry_after=error.retry_after,
        errors=error.errors,
        headers=headers,
    )


def _id(request: Request) -> str:
    return getattr(request.state, "request_id", "req_unknown")


async def _innerloop(request: Request, error: Exception) -> Response:
    assert isinstance(error, InnerloopError)  # noqa: S101 - for the type checker
    return of(error, request.url.path, _id(request))


async def _validation(request: Request, error: Exception) -> Response:
    """Query parameters; bodies are read by `requests`."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    errors: list[ErrorItem] = [
        {"pointer": str(found["loc"][-1]), "code": "invalid_field", "detail": found["msg"]} for found in error.errors()
    ]
    detail = f"{errors[0].get('pointer')}: {errors[0].get('detail')}"
    return problem(
        request.url.path,
        _id(request),
        status=422,
        code="invalid_request",
        title="Unprocessable",
        detail=detail,
        errors=errors,
    )


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    phrase = http.HTTPStatus(error.status_code).phrase.capitalize()
    headers, detail = dict(error.headers or {}), f"{request.method} {request.url.path}: {error.detail}"
    if error.status_code == 404:
        detail = f"there is nothing at {request.url.path}; /docs and /openapi.json list every route"
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_allowed(request)))
        detail = f"{request.url.path} takes {headers['Allow']}, not {request.method}"
    return problem(
        request.url.path,
        _id(request),
        status=error.status_code,
        code=phrase.lower().replace(" ", "_"),
        title=phrase,
        detail=detail,
        headers=headers,
    )


def _allowed(request: Request) -> set[str]:
    """Every method of the resource, not of the first route that has its path (RFC 9110, section 10.2.1)."""
    methods: set[str] = set()
    for template, operations in request.app.openapi()["paths"].items():
        if compile_path(template)[0].fullmatch(request.url.path):
            methods |= {method.upper() for method in operations}
    methods = methods or {"GET"}  # the pages that show the document are not in it
    return methods | ({"HEAD"} if "GET" in methods else set())


async def _redis(request: Request, error: Exception) -> Response:
    log.warning("%s %s %s: Redis: %s", _id(request), request.method, request.url.path, error)
    assert isinstance(error, redis.RedisError)  # noqa: S101
    mapped = full(error) or StoreUnavailable("the store of models does not answer right now")
    return of(mapped, request.url.path, _id(request))


async def _gone(request: Request, _: Exception) -> Response:
    """Nobody hears the answer; it is counted as the client's."""
    log.info("%s %s %s: the client left before its whole body was here", _id(request), request.method, request.url.path)
    return of(MalformedRequest("the body ends early"), request.url.path, _id(request))


async def _unexpected(request: Request, error: Exception) -> Response:
    log.exception("%s %s %s failed", _id(request), request.method, request.url.path, exc_info=error)
    return problem(
        request.url.path,
        _id(request),
        status=500,
        code="internal_error",
        title="Internal error",
        detail="this is a fault of the server; its log has the request_id",
        retryable=True,
        retry_after=1,
    )
