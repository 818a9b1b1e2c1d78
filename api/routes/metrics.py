"""`/metrics`: for Prometheus."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import contextlib
from typing import Annotated

import redis
from fastapi import APIRouter, Depends, Response
from fastapi.responses import PlainTextResponse
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from adapter.tally import Memory
from api.auth import MayOperate
from api.openapi import problems
from api.services import Services, services

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=PlainTextResponse, responses=problems())
async def metrics(s: Annotated[Services, Depends(services)], who: MayOperate) -> Response:
    """Requests, jobs, adaptations and stores in Prometheus' text format."""
    return Response(await s.in_store(_page, s), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


def _page(s: Services) -> bytes:
    stores: dict[str, Memory | None] = {"records": Memory.of(s.records.client), "weights": None}
    with contextlib.suppress(redis.RedisError):  # a cache: without it the rest is worth knowing all the more
        stores["weights"] = Memory.of(s.weights.client)
    return s.metrics.page(s.records.totals(), s.records.room().workers, stores)
