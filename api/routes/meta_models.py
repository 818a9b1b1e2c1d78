"""`/v1/meta-models` and `/v1/limits`: what this server can adapt, and how much."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from fastapi import APIRouter, Depends, Response

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
from meta_models.catalogue import Catalogue, UnknownMetaModelError
from meta_models.inputs.audio_file import MAX_CHANNELS
from meta_models.inputs.vector import MAX_DIMENSIONS

router = APIRouter(prefix="/v1", tags=["meta-models"])

S = Annotated[Services, Depends(services)]


@router.get("/meta-models", response_model=MetaModelList, responses=problems())
async def list_meta_models(s: S, who: MayPredict) -> Response:
    """Every published initialization with its limits and measured accuracy."""
    return Response(_list(s.catalogue), media_type="application/json")


@router.get("/meta-models/{name}", responses=problems(404))
async def get_meta_model(name: str, s: S, who: MayPredict) -> MetaModel:
    """One of them, by name, `name@version` or alias."""
    return _card(s.catalogue, name)


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


@lru_cache(1)
def _list(catalogue: Catalogue) -> str:
    """Made once: it takes several milliseconds, in which the process answers nobody else."""
    return MetaModelList(data=[_card(catalogue, p.manifest.name) for p in catalogue]).model_dump_json()


def _card(catalogue: Catalogue, name: str) -> MetaModel:
    try:
        manifest = catalogue.resolve(name).manifest
    except UnknownMetaModelError as error:
        raise NotFound(str(error.args[0])) from error
    return MetaModel.of(manifest, [alias for alias, target in catalogue.aliases.items() if target == manifest.name])
