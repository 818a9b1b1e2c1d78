"""`/v1/meta-models` and `/v1/limits`: what this server can adapt, and how much."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from adapter.errors import NotFound
from adapter.support_set import MAX_LABEL_LENGTH
from api import archives, limits
from api.arrays import MAX_ROWS
from api.auth import MayPredict
from api.forms import MAX_PARTS
from api.openapi import problems
from api.schemas import MetaModel, MetaModelList
from api.schemas_limits import KeyCard, ServerLimits
from api.services import Services, services
from meta_models.catalogue import UnknownMetaModelError
from meta_models.inputs.audio_file import MAX_CHANNELS
from meta_models.inputs.vector import MAX_DIMENSIONS

router = APIRouter(prefix="/v1", tags=["meta-models"])

S = Annotated[Services, Depends(services)]


@router.get("/meta-models", responses=problems())
async def list_meta_models(s: S, who: MayPredict) -> MetaModelList:
    """Every published initialization with its limits and measured accuracy."""
    return MetaModelList(data=[_card(s, p.manifest.name) for p in s.catalogue])


@router.get("/meta-models/{name}", responses=problems(404))
async def get_meta_model(name: str, s: S, who: MayPredict) -> MetaModel:
    """One of them, by name, `name@version` or alias."""
    return _card(s, name)


@router.get("/limits", responses=problems())
async def get_limits(s: S, who: MayPredict) -> ServerLimits:
    """Every cap of this server, and what is left of your key's quota."""
    usage = await s.in_store(s.usage.days, who.owner, who.id)
    return ServerLimits(
        **s.settings.model_dump(include=set(ServerLimits.model_fields)),
        max_audio_channels=MAX_CHANNELS,
        max_vector_dimensions=MAX_DIMENSIONS,
        max_rows=MAX_ROWS,
        max_parts=MAX_PARTS,
        max_archive_bytes=archives.MAX_BYTES,
        max_label_length=MAX_LABEL_LENGTH,
        max_event_streams=s.streams.most_of_one,
        key=KeyCard.of(who),
        quota=await limits.left(s, who, usage),
        usage=usage,
    )


def _card(s: Services, name: str) -> MetaModel:
    try:
        manifest = s.catalogue.resolve(name).manifest
    except UnknownMetaModelError as error:
        raise NotFound(str(error.args[0])) from error
    return MetaModel.of(manifest, [alias for alias, target in s.catalogue.aliases.items() if target == manifest.name])
