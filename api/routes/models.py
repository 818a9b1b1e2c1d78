"""`/v1/models`: adapt, list, look, change, cancel, delete."""

from __future__ import annotations

import contextlib
from typing import Annotated

import redis
from fastapi import APIRouter, Depends, Query, Request, Response

from adapter.errors import NotCancelable
from adapter.models import ModelRecord
from adapter.store import CURSOR, cursor_after
from adapter.versions import Idempotency
from api import adaptation, patching, webhooks
from api.asking import IdempotencyKey, IfMatch, Prefer, etag, expected_revision, wait_seconds, written
from api.auth import MayAdapt, MayPredict
from api.openapi import ADAPT_BODY, ETAG, LOCATION, REPLAYED, RETRY_AFTER, json_body, problems
from api.requests import read_adapt
from api.schemas import Model, ModelList
from api.schemas_requests import ModelPatch
from api.services import Services, services
from api.structured import read_json

router = APIRouter(prefix="/v1/models", tags=["models"])

S = Annotated[Services, Depends(services)]


@router.post(
    "",
    status_code=201,
    openapi_extra=ADAPT_BODY,
    response_model=Model,
    responses={
        201: {"description": "Ready", "headers": {**LOCATION, **ETAG, **REPLAYED}},
        202: {
            "model": Model,
            "description": "Accepted; follow `Location` after `Retry-After` seconds",
            "headers": {**LOCATION, **ETAG, **REPLAYED, **RETRY_AFTER},
        },
        **problems(400, 408, 409, 413, 415, 422),
    },
)
async def adapt(
    request: Request,
    s: S,
    who: MayAdapt,
    prefer: Prefer = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Adapt a meta-model to a support set.

    The same content again answers with the same model: under the later name, where one is sent, and for as long as the
    later request asks, never shorter.
    """
    seconds = min(wait_seconds(prefer), s.settings.max_wait_seconds)
    given = await read_adapt(request)
    webhook = webhooks.checked(s, who, given.options.webhook)
    prepared = await s.in_compute(adaptation.prepare, s, given)
    deadline = adaptation.within(seconds)
    record, is_new = await adaptation.adapted(s, who, prepared, deadline, idempotency_key, webhook)
    if record.status in ("failed", "canceled"):
        raise adaptation.failure(record)
    return _respond(record, is_new=is_new)


@router.get("", responses=problems(422))
async def list_models(
    s: S,
    who: MayPredict,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[
        str | None, Query(description="`next_cursor` of the page before.", json_schema_extra=written(CURSOR))
    ] = None,
) -> ModelList:
    """Your models, newest first."""
    records, has_more = await s.in_store(s.records.list, who.owner, limit, after)
    return ModelList(
        data=[Model.of(r) for r in records],
        has_more=has_more,
        next_cursor=cursor_after(records[-1]) if has_more else None,
    )


@router.get("/{model_id}", response_model=Model, responses={200: {"headers": ETAG}, **problems(404, 410)})
async def get_model(model_id: str, s: S, who: MayPredict) -> Response:
    """A model, whatever its status: as its newest version that is ready, else as the newest."""
    return _shown(await s.in_store(s.records.get, who.owner, model_id))


@router.patch(
    "/{model_id}",
    openapi_extra=json_body(ModelPatch),
    response_model=Model,
    responses={200: {"headers": ETAG}, **problems(400, 404, 408, 410, 412, 413, 415, 422)},
)
async def patch_model(model_id: str, request: Request, s: S, who: MayAdapt, if_match: IfMatch = None) -> Response:
    """Change its name, its life, its stable version or how readily it rejects; nothing is adapted."""
    given = await read_json(request, ModelPatch)
    record = await s.in_store(s.records.get, who.owner, model_id)
    revision = expected_revision(if_match, record)
    changes = await s.in_store(patching.checked, s, record, given)
    await s.in_store(s.records.patch, who.owner, model_id, record.head.digest, changes, revision)
    patched = await s.in_store(s.records.get, who.owner, model_id)
    if changes.ttl_seconds is not None:
        weights = await s.in_store(s.records.weights, who.owner, model_id, patched.head)
        with contextlib.suppress(redis.RedisError):  # a cache: they are adapted again, or end with their time
            await s.in_weights(s.weights.keep_for, who.owner, weights, changes.ttl_seconds)
    return _shown(patched)


@router.post("/{model_id}/cancel", responses=problems(404, 409, 410))
async def cancel_model(model_id: str, s: S, who: MayAdapt, idempotency_key: IdempotencyKey = None) -> Model:
    """Stop the newest adaptation that waits or runs; a version that was ready stays.

    Where it stopped one, the same key again is about that one, whatever was begun since.
    """
    key = Idempotency(idempotency_key, "cancel") if idempotency_key else None
    before = await s.in_store(s.records.changed_before, who.owner, model_id, key) if key else None
    if before:
        record = await s.in_store(s.records.get, who.owner, model_id, before)
    else:
        record = await s.in_store(s.records.newest_open, who.owner, model_id)
    status = await s.in_store(s.records.cancel, record, key)
    if status != "canceled":
        raise NotCancelable(f"version {record.version} of model {model_id} is {status}; nothing is being adapted")
    return Model.of(await s.in_store(s.records.get, who.owner, model_id))


@router.delete("/{model_id}", status_code=204, responses=problems(400, 404, 410, 412))
async def delete_model(model_id: str, s: S, who: MayAdapt, if_match: IfMatch = None) -> Response:
    """Forget a model with all its versions, their support sets and weights."""
    revision = None
    if if_match is not None:
        revision = expected_revision(if_match, await s.in_store(s.records.get, who.owner, model_id))
    weights = await s.in_store(s.records.delete, who.owner, model_id, revision)
    with contextlib.suppress(
        redis.RedisError
    ):  # a cache: what is left in it, nobody can ask for, and it ends with its time
        await s.in_weights(s.weights.delete, who.owner, weights)
    return Response(status_code=204)


def _respond(record: ModelRecord, *, is_new: bool) -> Response:
    ready = record.status == "ready"
    headers = {"Location": f"/v1/models/{record.id}"}
    if not is_new:
        headers["Idempotent-Replayed"] = "true"
    if not ready:
        headers["Retry-After"] = "1"
    return _shown(record, 201 if ready else 202, headers)


def _shown(record: ModelRecord, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A model and the tag of what is shown."""
    body = Model.of(record).model_dump_json()
    return Response(
        body, status, {**(headers or {}), "ETag": etag(record.head.revision, body)}, media_type="application/json"
    )
