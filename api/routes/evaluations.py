"""`/v1/models/{id}/evaluations`: how right a model is on queries whose label is known."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from api import adaptation, evaluating
from api.asking import AskedVersion, which_version
from api.auth import MayPredict
from api.openapi import EVALUATE_BODY, problems
from api.requests import read_labelled
from api.schemas_evaluation import EvaluateRequest, Evaluation
from api.services import Services, services

router = APIRouter(prefix="/v1/models/{model_id}/evaluations", tags=["predictions"])


@router.post("", openapi_extra=EVALUATE_BODY, responses=problems(400, 404, 408, 409, 410, 413, 415, 422))
async def evaluate(
    model_id: str,
    request: Request,
    s: Annotated[Services, Depends(services)],
    who: MayPredict,
    version: AskedVersion = None,
) -> Evaluation:
    """Accuracy with its 95% interval, per class, confusions and calibration. Nothing is kept."""
    payloads = await read_labelled(request, EvaluateRequest, "queries")
    record = await s.in_store(s.records.get, who.owner, model_id, which_version(version))
    evaluating.check(s, record, payloads)
    adapted = await adaptation.adapted_tensors(s, record)
    report = await s.in_compute(evaluating.evaluate, s, record, adapted, payloads)
    s.meter.predicted(who, record.spec.meta_model, len(payloads))
    return report
