"""`/v1/models/{id}/versions`: every support set the model had."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from api import growing
from api.auth import MayPredict
from api.openapi import problems
from api.schemas_growth import Version, VersionList
from api.services import Services, services

router = APIRouter(prefix="/v1/models/{model_id}/versions", tags=["versions"])

S = Annotated[Services, Depends(services)]


@router.get("", responses=problems(404, 410, 422))
async def list_versions(
    model_id: str,
    s: S,
    who: MayPredict,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[int | None, Query(ge=1, le=10**9, description="`next_cursor` of the page before.")] = None,
) -> VersionList:
    """Newest first; without the comparison that a single version shows."""
    found = await s.in_store(s.records.versions, who.owner, model_id, limit, after)
    has_more = len(found) > limit
    return VersionList(
        data=[Version.of(r) for r in found[:limit]],
        has_more=has_more,
        next_cursor=str(found[limit - 1].version) if has_more else None,
    )


@router.get("/{number}", responses=problems(404, 410, 422))
async def get_version(model_id: str, number: Annotated[int, Path(ge=1, le=10**9)], s: S, who: MayPredict) -> Version:
    """One of them, and how the examples that were there before fare in it."""
    record = await s.in_store(s.records.get, who.owner, model_id, number)
    return Version.of(record, await growing.comparison(s, record))
