"""What each key used, day by day (UTC), kept for `KEPT_DAYS`.

il:{owner}:usage:{key}:{day}  hash  adaptations and adapt_ms by the scripts, predictions by the API processes
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import cast

import redis
from pydantic import BaseModel

from adapter.errors import QuotaExceeded
from adapter.keys import USED, Key

KEPT_DAYS = 90


class Usage(BaseModel):
    """A key's day: support sets adapted, inputs classified, and the seconds that adapting took."""

    day: date
    adaptations: int = 0
    predictions: int = 0
    adapt_seconds: float = 0


class UsageStore:
    """Count and read."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def add(self, predictions: Mapping[Key, int], used: Mapping[Key, int]) -> None:
        """Count inputs classified today, and note when keys were last used (milliseconds)."""
        with self._client.pipeline(transaction=True) as all_of_it:
            for key, n in predictions.items():
                name = usage_key(key.owner, key.id, today())
                all_of_it.hincrby(name, "predictions", n)
                all_of_it.expire(name, KEPT_DAYS * 86400)
            if used:
                all_of_it.hset(USED, mapping={key.id: at for key, at in used.items()})
            all_of_it.execute()

    def days(self, owner: str, key_id: str, n: int = KEPT_DAYS) -> list[Usage]:
        """The last `n` days on which anything was used, the newest first; today always."""
        days = [today() - timedelta(days=back) for back in range(min(n, KEPT_DAYS))]
        with self._client.pipeline(transaction=False) as all_of_it:
            for day in days:
                all_of_it.hgetall(usage_key(owner, key_id, day))
            found = cast("list[dict[bytes, bytes]]", all_of_it.execute())
        return [_usage(day, fields) for day, fields in zip(days, found, strict=True) if fields or day == days[0]]


def over_quota(key: Key, name: bytes, wait_ms: int) -> QuotaExceeded:
    """The error of a script that found a key over its quota `name`."""
    which = name.decode()
    limit = getattr(key.quota, which)
    said, remedy = {
        "adaptations_per_day": (f"{limit} adaptations a day", "it starts anew at midnight UTC"),
        "stored_models": (f"{limit} stored models", "delete some; the next one to expire makes room"),
        "stored_bytes": (f"{limit} bytes of stored support sets", "delete models; the next to expire makes room"),
    }[which]
    return QuotaExceeded(f"the quota of {key.id} is {said}: {remedy}", retry_after=wait_ms / 1000)


def usage_key(owner: str, key_id: str, day: date) -> str:
    return f"il:{owner}:usage:{key_id}:{day.isoformat()}"


def today() -> date:
    return datetime.now(UTC).date()


def _usage(day: date, fields: Mapping[bytes, bytes]) -> Usage:
    return Usage(
        day=day,
        adaptations=int(fields.get(b"adaptations", 0)),
        predictions=int(fields.get(b"predictions", 0)),
        adapt_seconds=round(float(fields.get(b"adapt_ms", 0)) / 1000, 6),
    )
