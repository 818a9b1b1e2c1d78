"""`/v1/models`: adapt, list, look, delete."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from adapter.errors import MalformedRequest
from adapter.models import ModelRecord
from adapter.store import cursor_after
from api import adaptation
from api.openapi import ADAPT_BODY, LOCATION, RETRY_AFTER, problems
from api.requests import read_adapt
from api.schemas import Model, ModelList
from api.services import Services, owner, services

router = APIRouter(prefix="/v1/models", tags=["models"])

S = Annotated[Services, Depends(services)]
Owner = Annotated[str, Depends(owner)]

DEFAULT_WAIT_SECONDS = 10.0


@router.post(
    "",
    status_code=201,
    openapi_extra=ADAPT_BODY,
    response_model=Model,
    responses={
        201: {"description": "Ready", "headers": LOCATION},
        202: {
            "model": Model,
            "description": "Accepted; follow `Location` after `Retry-After` seconds",
            "headers": {**LOCATION, **RETRY_AFTER},
        },
        **problems(400, 408, 409, 413, 415, 422),
    },
)
async def adapt(
    request: Request,
    s: S,
    who: Owner,
    prefer: Annotated[str | None, Header(description="`wait=N` seconds (default 10) or `respond-async`.")] = None,
    idempotency_key: Annotated[
        str | None, Header(max_length=200, description="The same key with the same content gives the same model.")
    ] = None,
) -> Response:
    """Adapt a meta-model to a support set. The same content again answers with the same model."""
    seconds = min(_wait(prefer), s.settings.max_wait_seconds)
    given = await read_adapt(request)
    prepared = await s.in_compute(adaptation.prepare, s, given)
    created = await adaptation.accept(s, who, prepared, idempotency_key)
    record = await adaptation.settle(s, who, created.id, seconds)
    if record.status == "failed":
        raise adaptation.failure(record)
    return _respond(record, is_new=created.is_new)


@router.get("", responses=problems(422))
async def list_models(
    s: S,
    who: Owner,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
) -> ModelList:
    """Your models, newest first."""
    records, has_more = await s.in_store(s.records.list, who, limit, after)
    return ModelList(
        data=[Model.of(r) for r in records],
        has_more=has_more,
        next_cursor=cursor_after(records[-1]) if has_more else None,
    )


@router.get("/{model_id}", responses=problems(404, 410))
async def get_model(model_id: str, s: S, who: Owner) -> Model:
    """A model, whatever its status."""
    return Model.of(await s.in_store(s.records.get, who, model_id))


@router.delete("/{model_id}", status_code=204, responses=problems(404))
async def delete_model(model_id: str, s: S, who: Owner) -> Response:
    """Forget a model, its support set and its weights."""
    record = await s.in_store(s.records.delete, who, model_id)
    await s.in_store(s.weights.delete, who, record.spec.weights)
    return Response(status_code=204)


def _respond(record: ModelRecord, *, is_new: bool) -> Response:
    ready = record.status == "ready"
    headers = {"Location": f"/v1/models/{record.id}"}
    if not is_new:
        headers["Idempotent-Replayed"] = "true"
    if not ready:
        headers["Retry-After"] = "1"
    body = Model.of(record).model_dump_json()
    return Response(body, 201 if ready else 202, headers, media_type="application/json")


def _wait(prefer: str | None) -> float:
    """Seconds to wait for the result (RFC 7240)."""
    if prefer is None:
        return DEFAULT_WAIT_SECONDS
    if "respond-async" in prefer:
        return 0.0
    match = re.search(r"\bwait=(\S+)", prefer)
    if match is None:
        return DEFAULT_WAIT_SECONDS
    if not re.fullmatch(r"\d+(\.\d+)?,?", match[1]):
        raise MalformedRequest(f"Prefer: wait takes seconds, not {match[1]!r}", pointer="Prefer")
    return float(match[1].rstrip(","))
