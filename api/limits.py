"""What is left of a caller's quota."""

from __future__ import annotations

from datetime import UTC, datetime

from adapter.keys import Key
from adapter.usage import Usage
from api.rate import Rate
from api.schemas_limits import Allowance, QuotaLeft
from api.services import Services


async def left(services: Services, who: Key, usage: list[Usage]) -> QuotaLeft:
    """Of the key's quota, after what `usage`, today first, says."""
    rate = await services.rate.left(who)
    models, size = await services.in_store(services.records.stored, who.owner)
    quota = who.quota
    now = datetime.now(UTC)
    into_the_day = (now - now.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    return QuotaLeft(
        requests_per_minute=_requests(rate),
        adaptations_per_day=Allowance.of(
            quota.adaptations_per_day, usage[0].adaptations, more_in_seconds=round(86400 - into_the_day)
        ),
        stored_models=Allowance.of(quota.stored_models, models),
        stored_bytes=Allowance.of(quota.stored_bytes, size),
    )


def _requests(rate: Rate | None) -> Allowance:
    if rate is None:
        return Allowance(limit=None)
    return Allowance(limit=rate.limit, remaining=rate.remaining, more_in_seconds=round(rate.seconds, 1))
