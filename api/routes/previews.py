"""`/v1/models/{id}/examples/{example}/preview`: what the meta-model sees of a support example."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Response

from adapter.errors import NotFound
from adapter.models import ModelRecord
from adapter.quality import example_name
from adapter.support_set import SupportSet
from api import adaptation, growing
from api.asking import AskedVersion
from api.auth import MayAdapt
from api.elements import preferred
from api.openapi import problems
from api.services import Services, services
from meta_models.inputs.preview import Preview

router = APIRouter(prefix="/v1/models", tags=["versions"])

S = Annotated[Services, Depends(services)]

TEXT, PNG = "text/plain", "image/png"

_CACHED = {"Cache-Control": "private, max-age=3600", "Vary": "Accept, Authorization"}
"""An example is named by its content, so what is shown of it hardly ever changes."""

_HEADERS = {
    "ETag": {"schema": {"type": "string"}, "description": "For `If-None-Match`."},
    **{name: {"schema": {"type": "string"}} for name in _CACHED},
}
_SHOWN: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A picture, its `Description` the same in words; of a text, and where `Accept` prefers "
        "`text/plain`, words",
        "content": {
            PNG: {"schema": {"type": "string", "format": "binary"}},
            TEXT: {
                "schema": {"type": "string"},
                "example": "where is my card\ntext, 6 of at most 128 tokens: [CLS] where is my card [SEP]\n",
            },
        },
        "headers": _HEADERS,
    },
    304: {"description": "It is the one that `If-None-Match` names", "headers": _HEADERS},
}


@router.get(
    "/{model_id}/examples/{example_id}/preview",
    response_class=Response,
    responses={**_SHOWN, **problems(404, 409, 410, 422)},
)
async def preview_example(
    model_id: str,
    example_id: str,
    s: S,
    who: MayAdapt,
    version: AskedVersion = None,
    accept: Annotated[str, Header(description="`image/png` (default) or `text/plain`.")] = "*/*",
    if_none_match: Annotated[str | None, Header(description="`ETag` of a preview that is there already.")] = None,
) -> Response:
    """What the meta-model sees of an example: the picture it was made to, the spectrogram, the tokens, the numbers.

    304 without a body where `If-None-Match` has the `ETag` of what would be sent.
    """
    record = await growing.listed(s, who, model_id, version)
    support = await growing.stored_support(s, record)
    preview = await s.in_compute(_preview, s, record, support, example_id)
    worded = preview.pixels is None or preferred(accept, PNG, TEXT) == TEXT
    body = f"{preview.words}\n".encode() if worded else await s.in_compute(preview.png)
    headers = {**_CACHED, "ETag": f'"{hashlib.sha256(body).hexdigest()[:16]}"'}
    if if_none_match and (if_none_match.strip() == "*" or headers["ETag"] in if_none_match):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=TEXT if worded else PNG)


def _preview(s: Services, record: ModelRecord, support: SupportSet, name: str) -> Preview:
    row = next((row for row, of in enumerate(support.example_ids) if example_name(of) == name), None)
    if row is None:
        raise NotFound(f"no example {name!r} in version {record.version} of model {record.id}")
    manifest = adaptation.manifest_of(s, record)
    return manifest.input.preview(support.inputs[row], manifest.backbone)
