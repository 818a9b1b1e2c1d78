"""`/healthz` and `/readyz`: for whoever restarts and routes."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import redis
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
    checks = await s.in_store(_checks, s)
    ready = all(checks.values())
    body = Readiness(status="ready" if ready else "not_ready", checks=checks)
    headers = {} if ready else {"Retry-After": "1"}
    return Response(body.model_dump_json(), 200 if ready else 503, headers, media_type="application/json")


def _checks(s: Services) -> dict[str, bool]:
    checks = {"records": False, "weights": False, "worker": False}
    asked: dict[str, Callable[[], bool]] = {
        "records": lambda: bool(s.records.client.ping()),
        "weights": lambda: bool(s.weights.client.ping()),
        "worker": lambda: s.records.room().workers > 0,
    }
    for name, ask in asked.items():
        with suppress(redis.RedisError):
            checks[name] = ask()
    return checks
