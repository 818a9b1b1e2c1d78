"""JSON and MessagePack bodies: read, checked against a schema, and what is wrong with them in words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from adapter.errors import ErrorItem, MalformedRequest, TooLarge, Unprocessable, UnsupportedMediaType
from api import packed
from api.schemas_requests import MAX_COLLECTIONS

LARGE = 2**20
"""Bytes of a body that others need not wait for."""
MAX_QUOTES = 2**21
"""Of a JSON body: each member's name has two, and so has each text; what is in vectors and pictures has none."""
MAX_FINDINGS = 10_000
"""Members and values that do not belong: a body with more has them counted, not listed."""
SHOWN = 100
"""Of them, in an answer."""

Body = TypeVar("Body", bound=BaseModel)
Found = TypeVar("Found")
P = ParamSpec("P")


async def read_structured(request: Request, schema: type[Body]) -> Body | None:
    """A JSON or MessagePack body; None for a multipart form.

    Raises:
        UnsupportedMediaType: another one.
        MalformedRequest, Unprocessable: not what its media type says, or not of the schema.
        TooLarge: more members or values than a body may have.
    """
    media_type = plain_media_type(request)
    if media_type == "multipart/form-data":
        return None
    if media_type == "application/json":
        return await _json(request, schema)
    if media_type in packed.MEDIA_TYPES:
        data = await request.body()
        return await aside(len(data) > LARGE, _validated, lambda: schema.model_validate(packed.unpack(data)))
    raise UnsupportedMediaType(
        "send application/json, application/msgpack or multipart/form-data, "
        f"not {media_type or 'a body without Content-Type'}"
    )


async def read_json(request: Request, schema: type[Body]) -> Body:
    """A body that is JSON and nothing else.

    Raises:
        UnsupportedMediaType: it is something else.
        MalformedRequest, TooLarge, Unprocessable: as `read_structured`.
    """
    media_type = plain_media_type(request)
    if media_type not in ("application/json", "application/merge-patch+json"):
        raise UnsupportedMediaType(f"send application/json, not {media_type or 'a body without Content-Type'}")
    return await _json(request, schema)


def plain_media_type(request: Request) -> str:
    """What `Content-Type` says, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _json(request: Request, schema: type[Body]) -> Body:
    data = await request.body()
    if data.count(b"[") + data.count(b"{") > MAX_COLLECTIONS:
        raise TooLarge(f"the body has more than {MAX_COLLECTIONS} arrays and objects", code="body_too_large")
    if data.count(b'"') > MAX_QUOTES:
        raise TooLarge(f"the body has more than {MAX_QUOTES // 2} names and texts", code="body_too_large")
    return await aside(len(data) > LARGE, _validated, lambda: schema.model_validate_json(data))


def _validated(validate: Callable[[], Body]) -> Body:
    try:
        return validate()
    except ValidationError as error:
        raise as_problem(error) from error


_one_at_a_time = asyncio.Semaphore(1)


async def aside(large: bool, work: Callable[P, Found], *args: P.args, **more: P.kwargs) -> Found:
    """What `work` gives, from a thread where it is much: one at a time, for most of it holds the interpreter's lock."""
    if not large:
        return work(*args, **more)
    async with _one_at_a_time:
        return await asyncio.to_thread(work, *args, **more)


def as_problem(error: ValidationError, prefix: str = "") -> MalformedRequest | TooLarge | Unprocessable:
    """What to raise for it: JSON pointers, with `prefix` in front, and words for the first findings."""
    n = error.error_count()
    if n > MAX_FINDINGS:
        return Unprocessable(
            f"the body has {n} members or values that do not belong; see /docs", code="invalid_request"
        )
    findings = error.errors(include_url=False, include_input=False, include_context=False)
    first = findings[0]
    where = prefix + _pointer(first["loc"]) or "the body"
    if first["type"] == "json_invalid":
        return MalformedRequest(f"{where} is not JSON: {first['msg']}", code="invalid_json")
    if first["type"] == "too_long":
        pointer = prefix + _pointer(first["loc"])
        return TooLarge(f"{where}: {first['msg']}", code="body_too_large", pointer=pointer)
    errors: list[ErrorItem] = [
        {"pointer": prefix + _pointer(f["loc"]), "code": "invalid_field", "detail": _in_words(f)}
        for f in findings[:SHOWN]
    ]
    others = f", and {n - 1} more" if n > 1 else ""
    return Unprocessable(f"{where}: {_in_words(first)}{others}", code="invalid_request", errors=errors)


def _in_words(finding: ErrorDetails) -> str:
    """What pydantic says, with the shape that was meant where a labelled input was taken for another one."""
    *_, member = ("", *finding["loc"])
    if (finding["type"], member) == ("missing", "input"):
        return 'Field required; a labelled input is {"label": …, "input": {"image": …}}'
    if (finding["type"], member) == ("extra_forbidden", "input"):
        return 'an input without a label stands by itself: {"image": …}, not {"input": {"image": …}}'
    return finding["msg"].removeprefix("Value error, ")


def _pointer(location: Sequence[int | str]) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)
