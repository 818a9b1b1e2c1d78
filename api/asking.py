"""What requests ask by header and query: which state of a model they change, which version they mean."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import Annotated, Any

from fastapi import Header, Query, Request
from fastapi.routing import APIRoute

from adapter.errors import LostUpdate, MalformedRequest, Unprocessable
from adapter.models import ModelRecord
from adapter.store import WhichVersion
from api.elements import elements

_TAG = r'(W/)?"[^"]*"'
ETAGS = rf"\*|{_TAG}( *, *{_TAG})*"
_OURS = re.compile(r'"([0-9]{1,18})(-[0-9a-f]*)?"')

VERSION = "[1-9][0-9]{0,8}|stable|latest"


def written(pattern: str) -> dict[str, Any]:
    """`json_schema_extra` of a parameter that is checked here, where the refusal can say more than a pattern."""
    return {"pattern": f"^({pattern})$"}


IfMatch = Annotated[
    str | None,
    Header(
        description="`ETag` of the state that the change is meant for; 412 once another change was made.",
        examples=['"1"'],
        json_schema_extra=written(ETAGS),
    ),
]
Prefer = Annotated[
    str | None,
    Header(
        description="`wait=N` seconds (default 10), or `respond-async`; both wait as long.",
        examples=["wait=30", "respond-async"],
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        max_length=200,
        description="The same key with the same content gives the same answer; with other content 409. Kept for a day, "
        "of an owner's the newest 10,000.",
        examples=["upload-7f3a"],
    ),
]
AskedVersion = Annotated[
    str | None,
    Query(
        json_schema_extra=written(VERSION),
        description="A number, `stable` or `latest`; left out: the newest version that is ready.",
    ),
]

DEFAULT_WAIT_SECONDS = 10.0


async def known_parameters(request: Request) -> None:
    """Refuse what nobody reads, as a dependency of every route: a typo in `?version=` must not pass for no version.

    Raises:
        Unprocessable: an unknown query parameter, or one that was sent twice.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or "health" in route.tags:
        return
    known = [p.alias for p in route.dependant.query_params]
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if name not in known:
            expected = f"there are {', '.join(known)}" if known else "this route has none"
            raise Unprocessable(f"no query parameter {name!r}; {expected}", code="unknown_parameter", pointer=name)
        if times > 1:
            raise Unprocessable(
                f"query parameter {name!r} was sent {times} times; send it once", code="invalid_request", pointer=name
            )


def etag(revision: int, shown: str) -> str:
    """Names what is shown of a model, a strong validator (RFC 9110, section 8.8.1).

    The number in front counts what clients changed. What follows it moves on with an adaptation too.
    """
    return f'"{revision}-{hashlib.sha256(shown.encode()).hexdigest()[:12]}"'


def check_if_match(if_match: str | None) -> None:
    """Refuse what is no entity tag, whatever state the model is in.

    Raises:
        MalformedRequest: it is none.
    """
    if if_match is not None and not re.fullmatch(ETAGS, if_match.strip()):
        raise MalformedRequest(f"If-Match takes an ETag in quotes, not {if_match!r}", pointer="If-Match")


def expected_revision(if_match: str | None, record: ModelRecord) -> int | None:
    """The revision that must still be there, None where any will do (RFC 9110, section 13.1.1).

    Of a tag the number in front is compared: a model that got ready meanwhile is no lost update.

    Raises:
        LostUpdate: it is not.
        MalformedRequest: not an entity tag.
    """
    check_if_match(if_match)
    if if_match is None or if_match.strip() == "*":
        return None
    revision = record.head.revision
    if revision not in [int(found[1]) for tag in if_match.split(",") if (found := _OURS.fullmatch(tag.strip()))]:
        raise LostUpdate(f"model {record.id} is at revision {revision}, not {if_match}; read it again and try anew")
    return revision


def which_version(asked: str | None) -> WhichVersion:
    """As the store takes it.

    Raises:
        Unprocessable: it names no version.
    """
    if asked is None or asked == "stable" or asked == "latest":
        return asked
    if not re.fullmatch(VERSION, asked):
        raise Unprocessable(
            f"version is a whole number from 1, stable or latest, not {asked[:40]!r}",
            code="invalid_request",
            pointer="version",
        )
    return int(asked)


def one_version(query: str | None, body: WhichVersion) -> WhichVersion:
    """The version a request asks, by query or body.

    Raises:
        Unprocessable: by both, and not the same.
    """
    asked = which_version(query)
    if asked is not None and body is not None and asked != body:
        raise Unprocessable(
            f"?version={query} and the body's version {body} differ; send one",
            code="invalid_request",
            pointer="version",
        )
    return body if asked is None else asked


def wait_seconds(prefer: str | None) -> float:
    """Seconds to wait for the result: with `respond-async` as many as are asked for (RFC 7240, section 4.3), or none.

    Raises:
        MalformedRequest: `wait` is no number of seconds.
    """
    asked: dict[str, str] = {}
    for (name, value), *_ in elements(prefer or ""):
        asked.setdefault(name, value)  # of one that stands twice the first counts
    wait = asked.get("wait", "")
    if not wait:
        return 0.0 if "respond-async" in asked else DEFAULT_WAIT_SECONDS
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", wait):
        raise MalformedRequest(f"Prefer: wait takes seconds, not {wait[:40]!r}", pointer="Prefer")
    return float(wait)
