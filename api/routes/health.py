"""`/healthz` and `/readyz`: for whoever restarts and routes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.schemas import Health, Readiness
from api.services import Services, services

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Health:
    """This process answers."""
    return Health()


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness, "description": "Not ready"}})
async def readyz(s: Annotated[Services, Depends(services)]) -> Response:
    """Records and weights answer, and a worker lives."""
    checks = await s.readiness.checks()
    ready = all(checks.values())
    body = Readiness(status="ready" if ready else "not_ready", checks=checks)
    headers = {} if ready else {"Retry-After": "1"}
    return Response(body.model_dump_json(), 200 if ready else 503, headers, media_type="application/json")
