"""`/v1/models/{id}/exports`: a model as a file that answers as the service does."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from adapter import export
from adapter.models import ModelRecord
from adapter.store import Arrays
from adapter.support_set import SupportSet
from api import adaptation, growing
from api.asking import AskedVersion, which_version
from api.auth import MayAdapt
from api.openapi import EXPORT_BODY, problems
from api.requests import read_export
from api.services import Services, services

router = APIRouter(prefix="/v1/models", tags=["exports"])

S = Annotated[Services, Depends(services)]

_HEADERS = {
    "Content-Disposition": {"schema": {"type": "string"}, "description": "Name of the file."},
    "Innerloop-Parity": {
        "schema": {"type": "string"},
        "description": "Largest difference of a probability from the service's, the tolerance, and on how many "
        "support examples and, of a graph that takes pixels, made-up pictures: "
        "`max-difference=1.2e-07; tolerance=1e-05; examples=25; pictures=6`.",
    },
}


@router.post(
    "/{model_id}/exports",
    openapi_extra=EXPORT_BODY,
    response_class=Response,
    responses={
        200: {
            "description": "The file. The same model gives the same bytes.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            "headers": _HEADERS,
        },
        **problems(400, 404, 408, 409, 410, 413, 415, 422, 500),
    },
)
async def export_model(model_id: str, request: Request, s: S, who: MayAdapt, version: AskedVersion = None) -> Response:
    """A self-contained ONNX classifier or a safetensors bundle, compared with the service before it is sent.

    The classifier of pictures takes `pixels`, one decoded picture (height, width, 3) uint8 of any size: RGB, deeper
    grey scaled to eight bits, upright, transparency laid on white, or on black where what is drawn is light;
    docs/cookbook.md has the code. Every other takes `inputs`, a batch.
    """
    asked = await read_export(request)
    record = await s.in_store(s.records.get, who.owner, model_id, which_version(version))
    adapted = await adaptation.adapted_tensors(s, record)
    support = await growing.stored_support(s, record)
    made = await s.in_compute(_make, s, record, adapted, support, asked.format)
    parity = made.parity
    return Response(
        made.data,
        media_type="application/octet-stream",
        headers={
            "Content-Disposition": f'attachment; filename="{record.record_id}.{asked.format}"',
            "Innerloop-Parity": f"max-difference={parity.max_difference:.1e}; tolerance={parity.tolerance:.0e}; "
            f"examples={parity.examples}; pictures={parity.pictures}",
        },
    )


def _make(s: Services, record: ModelRecord, adapted: Arrays, support: SupportSet, to: str) -> export.Export:
    subject = export.Subject(
        published=s.catalogue.resolve(record.spec.meta_model),
        model_id=record.id,
        spec=record.spec,
        adapted=adapted,
        calibration=s.predictor.calibration(record.spec, record.head.false_reject),
        inputs=support.inputs[export.proof_rows(len(support.inputs))],
        serve=lambda inputs: s.predictor.predict(record.spec, adapted, inputs, record.head.false_reject),
    )
    return export.FORMATS[to](subject)
