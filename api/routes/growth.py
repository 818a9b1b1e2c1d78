"""`/v1/models/{id}/examples` and `/classes`: a support set that changes, and the versions this makes."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from adapter import growth
from adapter.errors import Unprocessable
from adapter.quality import example_name
from adapter.versions import Idempotency
from api import adaptation, growing
from api.asking import AskedVersion, IdempotencyKey, IfMatch, Prefer, etag, wait_seconds, written
from api.auth import MayAdapt, MayPredict
from api.openapi import EXAMPLES_BODY, json_body, problems, version_answers
from api.requests import read_labelled
from api.schemas_growth import ClassPatch, Example, ExampleList, ExamplesRequest, Version
from api.services import Services, services
from api.structured import read_json

router = APIRouter(prefix="/v1/models/{model_id}", tags=["versions"])

S = Annotated[Services, Depends(services)]

_CURSOR = r"([1-9][0-9]{0,8})-([0-9]{1,9})"


@router.get("/examples", responses=problems(404, 410, 422))
async def list_examples(
    model_id: str,
    s: S,
    who: MayPredict,
    version: AskedVersion = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[
        str | None, Query(description="`next_cursor` of the page before.", json_schema_extra=written(_CURSOR))
    ] = None,
) -> ExampleList:
    """The support set by class: of a version, or the one that the next change starts from."""
    start = 0
    if after is not None:
        match = re.fullmatch(_CURSOR, after)
        if match is None:
            raise Unprocessable(f"{after!r} is not a cursor; pass next_cursor of the page before", pointer="after")
        version, start = match[1], int(match[2])
    record = await growing.listed(s, who, model_id, version)
    support = await growing.stored_support(s, record)
    names = support.names
    rows = sorted(range(len(names)), key=lambda row: (names[row], row))
    page = rows[start : start + limit]
    has_more = start + limit < len(rows)
    return ExampleList(
        version=record.version,
        data=[
            Example.of(record, example_name(support.example_ids[row]), names[row], support.sources[row]) for row in page
        ],
        has_more=has_more,
        next_cursor=f"{record.version}-{start + limit}" if has_more else None,
    )


@router.post(
    "/examples",
    status_code=201,
    openapi_extra=EXAMPLES_BODY,
    response_model=Version,
    responses={**version_answers(201), **problems(400, 404, 408, 409, 410, 412, 413, 415, 422)},
)
async def add_examples(
    model_id: str,
    request: Request,
    s: S,
    who: MayAdapt,
    prefer: Prefer = None,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Add examples, to old classes or new ones: a new version. Those the model has already change nothing."""
    seconds = min(wait_seconds(prefer), s.settings.max_wait_seconds)
    record = await s.in_store(s.records.get, who.owner, model_id)
    payloads = await read_labelled(request, ExamplesRequest, "examples")
    change, content = await s.in_compute(growing.adding, s, record, payloads)
    idempotency = Idempotency(idempotency_key, content) if idempotency_key else None
    grown = await growing.grow(s, who, model_id, "examples_added", change, if_match, idempotency)
    return await _respond(s, grown, 201, seconds)


@router.delete(
    "/examples/{example_id}",
    response_model=Version,
    responses={**version_answers(200), **problems(400, 404, 409, 410, 412, 422)},
)
async def remove_example(
    model_id: str,
    example_id: str,
    s: S,
    who: MayAdapt,
    label: Annotated[str | None, Query(description="Only from this class, where several have it.")] = None,
    prefer: Prefer = None,
    if_match: IfMatch = None,
) -> Response:
    """Remove an example: a new version. The last one of a class takes the class with it."""
    seconds = min(wait_seconds(prefer), s.settings.max_wait_seconds)
    change = partial(growth.remove_example, name=example_id, label=label)
    grown = await growing.grow(s, who, model_id, "example_removed", change, if_match)
    return await _respond(s, grown, 200, seconds)


@router.patch(
    "/classes/{name:path}",
    openapi_extra=json_body(ClassPatch),
    response_model=Version,
    responses={**version_answers(200), **problems(400, 404, 408, 409, 410, 412, 413, 415, 422)},
)
async def rename_class(
    model_id: str, name: str, request: Request, s: S, who: MayAdapt, prefer: Prefer = None, if_match: IfMatch = None
) -> Response:
    """Give a class another name: a new version with the same adapted tensors; nothing is adapted."""
    seconds = min(wait_seconds(prefer), s.settings.max_wait_seconds)
    new = (await read_json(request, ClassPatch)).name
    grown = await growing.grow(
        s, who, model_id, "class_renamed", partial(growth.rename_class, old=name, new=new), if_match
    )
    return await _respond(s, grown, 200, seconds)


@router.delete(
    "/classes/{name:path}",
    response_model=Version,
    responses={**version_answers(200), **problems(400, 404, 409, 410, 412, 422)},
)
async def remove_class(
    model_id: str, name: str, s: S, who: MayAdapt, prefer: Prefer = None, if_match: IfMatch = None
) -> Response:
    """Remove a class with its examples: a new version."""
    seconds = min(wait_seconds(prefer), s.settings.max_wait_seconds)
    change = partial(growth.remove_class, name=name)
    grown = await growing.grow(s, who, model_id, "class_removed", change, if_match)
    return await _respond(s, grown, 200, seconds)


async def _respond(s: Services, grown: growing.Grown, done: int, seconds: float) -> Response:
    """The version once it is adapted, or as it is after `seconds`."""
    record = grown.record
    if record.is_open:
        record = await adaptation.settle(s, record.owner, record.id, adaptation.within(seconds), record.version)
    if record.status in ("failed", "canceled"):
        raise adaptation.failure(record)
    headers = {"Location": f"/v1/models/{record.id}/versions/{record.version}"}
    if record.is_open:
        headers["Retry-After"] = "1"
    if not grown.is_new:
        headers["Idempotent-Replayed"] = "true"
    body = Version.of(record, await growing.comparison(s, record)).model_dump_json()
    headers["ETag"] = etag(grown.revision, body)
    return Response(body, 202 if record.is_open else done, headers, media_type="application/json")
