"""What the whole service did and has: counted by the scripts, in the step that they make, so no process can lose it.

il:tally   hash  how adaptations ended, how long they took, and weights that were adapted again
il:owners  set   who has models
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

import redis

from adapter.redis_store import JOBS, OWNERS, TALLY, RedisStore, record_key

Ended = Literal["ready", "failed", "canceled"]
OUTCOMES: tuple[Ended, ...] = get_args(Ended)

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, math.inf)
"""Seconds of adapting, upper ends of the histogram."""


@dataclass(frozen=True)
class Totals:
    """Of all processes together.

    Attributes:
        ended: adaptations by how they ended.
        within: those that ended `ready`, by the bound of `BOUNDS` that they took less than.
        adapt_seconds: their sum.
        restored: evicted weights that had to be adapted again.
        jobs: open ones by state.
        models, support_bytes: kept, of all owners.
    """

    ended: Mapping[Ended, int]
    within: Mapping[float, int]
    adapt_seconds: float
    restored: int
    jobs: Mapping[Literal["queued", "running"], int]
    models: int
    support_bytes: int


@dataclass(frozen=True)
class Memory:
    """Of a Redis server, in bytes; `limit` 0 is none. `evicted`: keys that went because there was no room."""

    used: int
    limit: int
    evicted: int

    @classmethod
    def of(cls, client: redis.Redis) -> Memory:
        found = client.info("memory"), client.info("stats")
        return cls(found[0]["used_memory"], found[0]["maxmemory"], found[1]["evicted_keys"])


class Tally(RedisStore):
    """Add up."""

    def totals(self) -> Totals:
        """As it is now."""
        fields = cast("dict[bytes, bytes]", self.client.hgetall(TALLY))
        text = {name.decode(): value.decode() for name, value in fields.items()}
        models, size = self.run("kept", [OWNERS], ["il:"])
        return Totals(
            ended={outcome: int(text.get(outcome, 0)) for outcome in OUTCOMES},
            within={bound: int(text.get(_field(bound), 0)) for bound in BOUNDS},
            adapt_seconds=float(text.get("adapt_ms", 0)) / 1000,
            restored=int(text.get("restored", 0)),
            jobs=self._jobs(),
            models=int(models),
            support_bytes=int(size),
        )

    def _jobs(self) -> Mapping[Literal["queued", "running"], int]:
        names = [job.decode() for job in cast("list[bytes]", self.client.zrange(JOBS, 0, -1))]
        with self.client.pipeline(transaction=False) as all_of_it:
            for name in names:
                all_of_it.hget(record_key(*name.split("/")), "job")
            states = Counter(cast("list[bytes | None]", all_of_it.execute()))
        return {"queued": states[b"queued"], "running": states[b"running"]}


def bucket(seconds: float) -> str:
    """The field that counts adaptations of this length."""
    return _field(next(bound for bound in BOUNDS if seconds <= bound))


def _field(bound: float) -> str:
    return f"within_{bound:g}"
