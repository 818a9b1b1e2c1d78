"""`/v1/models/{id}/predictions` and `/v1/classify`: answers."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from adapter.errors import AdaptationTimeout, NotFound, StoreUnavailable
from adapter.models import ModelRecord
from api import adaptation, prediction
from api.arrays import NPZ
from api.asking import AskedVersion, one_version
from api.auth import MayAdapt, MayPredict
from api.elements import preferred
from api.openapi import CLASSIFY_BODY, NPZ_ANSWER, PREDICT_BODY, problems
from api.requests import read_classify, read_queries
from api.schemas import Classified, Predictions, timings
from api.services import Services, services

router = APIRouter(prefix="/v1", tags=["predictions"])

S = Annotated[Services, Depends(services)]

CLASSIFY_SECONDS = 60.0


@router.post(
    "/models/{model_id}/predictions",
    openapi_extra=PREDICT_BODY,
    response_model=Predictions,
    responses={200: NPZ_ANSWER, **problems(400, 404, 408, 409, 410, 413, 415, 422)},
)
async def predict(model_id: str, request: Request, s: S, who: MayPredict, version: AskedVersion = None) -> Response:
    """Classify inputs. Each answer depends on the support set and that input alone."""
    batch = await read_queries(request)
    prediction.check_size(s, len(batch.payloads))
    record = await s.in_store(s.records.get, who.owner, model_id, one_version(version, batch.version))
    adapted = await adaptation.adapted_tensors(s, record)
    if preferred(request.headers.get("accept", ""), "application/json", NPZ) == NPZ:
        data = await s.in_compute(prediction.answer_arrays, s, record, adapted, batch)
        s.meter.predicted(who, record.spec.meta_model, len(batch.payloads))
        return Response(data, media_type=NPZ, headers={"Innerloop-Version": str(record.version)})
    results = await s.in_compute(prediction.answer, s, record, adapted, batch)
    s.meter.predicted(who, record.spec.meta_model, len(results))
    return _json(Predictions(model=record.id, version=record.version, results=results))


@router.post(
    "/classify",
    openapi_extra=CLASSIFY_BODY,
    response_model=Classified,
    responses=problems(400, 408, 413, 415, 422),
)
async def classify(request: Request, s: S, who: MayAdapt) -> Response:
    """Adapt and classify in one request; nothing is kept."""
    given, batch = await read_classify(request)
    prediction.check_size(s, len(batch.payloads))
    prepared = await s.in_compute(adaptation.prepare, s, given, ephemeral=True)
    deadline = adaptation.within(CLASSIFY_SECONDS)
    accepted = await adaptation.accept(s, who, prepared, deadline)
    try:
        record = accepted.record or await adaptation.settle(s, who.owner, accepted.id, deadline)
        if record.is_open:
            raise AdaptationTimeout("adapting takes too long for one request; use POST /v1/models", retry_after=5)
        adapted = await adaptation.adapted_tensors(s, record)
        results = await s.in_compute(prediction.answer, s, record, adapted, batch)
    except NotFound as error:  # nobody else knows of it: its Redis failed over, and lacks what came last
        raise StoreUnavailable("the store lost this request's support set; send the same again") from error
    finally:
        with suppress(NotFound):
            await s.in_store(s.records.delete, who.owner, accepted.id)
        await s.in_weights(s.weights.delete, who.owner, [prepared.spec.weights])
    s.meter.predicted(who, record.spec.meta_model, len(results))
    return _json(_classified(record, results))


def _classified(record: ModelRecord, results: list[prediction.Result]) -> Classified:
    return Classified(
        meta_model=record.spec.meta_model,
        classes=sorted(record.spec.classes, key=lambda c: c.name),
        results=results,
        timings_ms=timings(record),
    )


def _json(body: Predictions | Classified) -> Response:
    """An answered input has no `error`, one in error nothing else."""
    return Response(body.model_dump_json(exclude_unset=True), media_type="application/json")
