"""Every Redis key, TTL and codec. Two roles: records must never be lost, weights are a cache.

il:{owner}:model:{id}        hash    the record: spec, status, job, lease; and what all versions share
il:{owner}:model:{id}.{n}    hash    the same of version n, from 2 on
il:{owner}:support:{id}[.n]  string  the support set of a version
il:{owner}:events:{id}       stream  status changes and support losses of all versions
il:{owner}:models            zset    ids by creation
il:{owner}:stored, :sizes    zset, hash  ids by end of life, bytes of their support sets
il:{owner}:digest:{digest}   string  content to id, of models that have not grown
il:{owner}:idempotency:{h}   hash    Idempotency-Key to fingerprint and id
il:{owner}:webhooks:{id}     hash    who is told of a model: url to secret
il:jobs                      zset    open jobs by the time someone must look at them
il:webhooks, :{message}      zset, hash  messages by the time they are to be sent, and each
il:worker:{name}             string  a worker that lives
il:workers                   set     names of those that said so
il:{owner}:weights:{digest}  string  adapted tensors (weights role)

API keys and their use: `keys`, `usage`. The parts: `jobs` (leases), `versions` (models that change), `events` (the
stream), and here everything else.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import redis
import safetensors.numpy
from numpy.typing import NDArray

from adapter import redis_store
from adapter.config import Settings
from adapter.errors import Expired, IdempotencyKeyInUse, NotFound, QueueFull, StoreFull, Unprocessable
from adapter.events import Events
from adapter.jobs import Claim, Jobs
from adapter.keys import LOCAL, Key
from adapter.models import Head, ModelRecord, ModelSpec, new_model_id, record_id
from adapter.redis_store import (
    DONE_CHANNEL,
    JOBS,
    MESSAGES,
    TOMBSTONE_MS,
    connect,
    events_key,
    now_ms,
    record_key,
    stored_keys,
    support_key,
    webhooks_key,
)
from adapter.usage import over_quota, today, usage_key
from adapter.versions import Patch, Versions
from adapter.webhooks import Webhook

__all__ = [
    "DONE_CHANNEL",
    "JOBS",
    "Arrays",
    "Claim",
    "Created",
    "Patch",
    "Records",
    "Weights",
    "connect",
    "cursor_after",
]

WATERMARK = 0.9
"""Share of the record store's memory above which no new model is admitted."""

LARGEST_BATCH = 100

CURSOR = r"([0-9]{1,15})-(mdl_[0-9a-f]{32})"

Arrays = dict[str, NDArray[np.float32]]

WhichVersion = int | Literal["stable", "latest"] | None
"""A number, the stable one, the newest, or what is served by default: the newest that is ready, else the newest."""


@dataclass(frozen=True)
class Created:
    """Outcome of `Records.create`: `is_new` is false where the same model existed already."""

    id: str
    is_new: bool


class Records(Jobs, Versions, Events):
    """Model records, support sets and jobs. Scripts make each change in one step."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        super().__init__(client, settings)
        self._admitted_until = 0.0

    def create(
        self,
        owner: str,
        spec: ModelSpec,
        support: bytes,
        ttl_seconds: int,
        *,
        model_id: str | None = None,
        name: str | None = None,
        idempotency_key: str | None = None,
        fingerprint: str = "",
        key: Key = LOCAL,
        webhook: Webhook | None = None,
    ) -> Created:
        """Store a model with its job unless the same content or key has one.

        A new model is called `model_id`, where that is given.

        A `webhook` of the same content again is told at once of a model that is ready.

        Raises:
            IdempotencyKeyInUse: the key came with other content before.
            QueueFull, StoreFull: try again later.
            QuotaExceeded: of `key`.
        """
        self.admit()
        model_id = model_id or new_model_id()
        outcome, found, *rest = self.run(
            "create",
            [
                record_key(owner, model_id),
                support_key(owner, model_id),
                f"il:{owner}:models",
                f"il:{owner}:digest:{spec.digest}",
                redis_store.idempotency_key(owner, idempotency_key or ""),
                JOBS,
                events_key(owner, model_id),
                usage_key(owner, key.id, today()),
                *stored_keys(owner),
                webhooks_key(owner, model_id),
                MESSAGES,
            ],
            [
                model_id,
                f"{owner}/{model_id}",
                spec.model_dump_json(),
                support,
                ttl_seconds * 1000,
                TOMBSTONE_MS,
                redis_store.GRACE_MS,
                int(not spec.ephemeral),
                fingerprint if idempotency_key else "",
                redis_store.IDEMPOTENCY_MS,
                record_key(owner, ""),
                name or "",
                key.id,
                key.quota.model_dump_json(),
                webhook.url if webhook else "",
                webhook.secret if webhook else "",
            ],
        )
        if outcome == b"quota":
            raise over_quota(key, found, *rest)
        if outcome == b"conflict":
            raise IdempotencyKeyInUse(
                f"Idempotency-Key {idempotency_key!r} was used for other content (model {found.decode()}); "
                "use a new key for a new request"
            )
        return Created(found.decode(), outcome == b"created" or found.decode() == model_id)

    def get(self, owner: str, model_id: str, version: WhichVersion = None) -> ModelRecord:
        """A version of a model, whatever its status.

        Raises:
            NotFound: no such model or version, or another owner's.
            Expired: its time is over.
        """
        record = self.peek(owner, model_id, version)
        if record is None:
            of = f"version {version} of a " if isinstance(version, int) else ""
            raise NotFound(f"no {of}model {model_id!r}")
        if record.status == "expired":
            raise Expired(f"model {model_id!r} has expired; adapt again to get a new one")
        return record

    def peek(self, owner: str, model_id: str, version: WhichVersion = None) -> ModelRecord | None:
        """The same, expired or not, or None."""
        fields = self._fields(owner, model_id)
        if "." in model_id or not fields:  # a dot would name another version's record
            return None
        head = Head.read(fields)
        number = {"stable": head.stable, "latest": head.latest}.get(version, 0) if isinstance(version, str) else version
        candidates = range(head.latest, 0, -1) if number is None else [number]
        newest: ModelRecord | None = None
        for n in candidates:
            if not 1 <= n <= head.latest:
                return None
            found = fields if n == 1 else self._fields(owner, record_id(model_id, n))
            if not found:  # deleted between the two reads
                return None
            record = ModelRecord.read(owner, head, found, now_ms())
            if number is not None or record.status in ("ready", "expired"):
                return record
            newest = newest or record
        return newest

    def newest_kept(self, owner: str, model_id: str) -> ModelRecord:
        """The version that a change starts from: the newest that did not fail and was not canceled, else the first.

        Raises:
            NotFound, Expired: as `get`.
        """
        newest = record = self.get(owner, model_id, "latest")
        while record.status in ("failed", "canceled") and record.version > 1:
            record = self.get(owner, model_id, record.version - 1)
            # The revision that comes with a record guards the change, so it must not be younger than the choice.
            if record.head.revision != newest.head.revision:
                newest = record = self.get(owner, model_id, "latest")
        return record

    def versions(self, owner: str, model_id: str, limit: int, below: int | None) -> list[ModelRecord]:
        """Versions from the newest down, those below number `below`; one more than `limit` where there are more.

        Raises:
            NotFound, Expired: as `get`.
        """
        latest = self.get(owner, model_id, 1).head.latest
        start = min(latest, (below or latest + 1) - 1)
        return [self.get(owner, model_id, n) for n in range(start, max(0, start - limit - 1), -1)]

    def list(self, owner: str, limit: int, after: str | None) -> tuple[list[ModelRecord], bool]:
        """Newest first, those older than cursor `after`; and whether there are more.

        A cursor is a place in time, so it outlives the model it was made from.

        Raises:
            Unprocessable: `after` is not a cursor.
        """
        key, start = f"il:{owner}:models", 0
        newest, last = _read_cursor(after) if after is not None else (None, None)
        records: list[ModelRecord] = []
        while len(records) <= limit:
            page = cast(
                "list[tuple[bytes, float]]",
                self.client.zrevrangebyscore(
                    key, "+inf" if newest is None else newest, "-inf", start, LARGEST_BATCH, withscores=True
                ),
            )
            if not page:
                break
            start += len(page)
            # Of those created in the cursor's millisecond, the ones up to it were listed before.
            ids = [i.decode() for i, at in page if last is None or at != newest or i.decode() < last]
            found = [self.peek(owner, i) for i in ids]
            gone = [i for i, record in zip(ids, found, strict=True) if record is None or record.status == "expired"]
            if gone:
                self.client.zrem(key, *gone)
                start -= len(gone)
            records += [r for r in found if r is not None and r.status != "expired"]
        return records[:limit], len(records) > limit

    def delete(self, owner: str, model_id: str) -> set[str]:
        """Forget a model and what belongs to it; the names of its versions' weights.

        Raises:
            NotFound: no such model, or another owner's.
        """
        record = self.peek(owner, model_id)
        if record is None:
            raise NotFound(f"no model {model_id!r}")
        versions = [self.peek(owner, model_id, n) for n in range(1, record.head.latest + 1)]
        existed = self.run(
            "delete",
            [
                record_key(owner, model_id),
                support_key(owner, model_id),
                f"il:{owner}:models",
                f"il:{owner}:digest:{record.head.digest}",
                JOBS,
                events_key(owner, model_id),
                *stored_keys(owner),
                webhooks_key(owner, model_id),
            ],
            [model_id, f"{owner}/{model_id}", DONE_CHANNEL],
        )
        if not existed:  # another request was faster
            raise NotFound(f"no model {model_id!r}")
        return {v.spec.weights for v in versions if v is not None}

    def support(self, owner: str, record_id: str) -> bytes | None:
        """The stored support set of a version, or None where the model is gone."""
        return cast("bytes | None", self.client.get(support_key(owner, record_id)))

    def stored(self, owner: str) -> tuple[int, int]:
        """How many models an owner has, and the bytes of their support sets."""
        models, size = self.run("stored", stored_keys(owner), [])
        return int(models), int(size)

    def exists(self, owner: str, record_id: str) -> bool:
        """Whether a version was not deleted."""
        return bool(self.client.exists(record_key(owner, record_id)))

    def _fields(self, owner: str, record_id: str) -> dict[bytes, bytes]:
        return cast("dict[bytes, bytes]", self.client.hgetall(record_key(owner, record_id)))

    def admit(self) -> None:
        """Refuse new jobs while the queue or the memory is full; checked at most twice a second."""
        if time.monotonic() < self._admitted_until:
            return
        queued = self.client.zcard(JOBS)
        if queued >= self.settings.max_queued_jobs:
            raise QueueFull(f"{queued} jobs are waiting, the most this server queues", retry_after=5)
        memory = self.client.info("memory")
        if memory["maxmemory"] and memory["used_memory"] > WATERMARK * memory["maxmemory"]:
            raise StoreFull("the store of models is full; delete models or raise its memory", retry_after=30)
        self._admitted_until = time.monotonic() + 0.5


class Weights:
    """Adapted tensors by content: safetensors, evictable."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def get(self, owner: str, digest: str) -> Arrays | None:
        """The tensors, or None where they were evicted."""
        data = cast("bytes | None", self.client.get(_weights(owner, digest)))
        return safetensors.numpy.load(data) if data is not None else None

    def put(self, owner: str, digest: str, tensors: Arrays, ttl_ms: int) -> None:
        """Store until evicted, at most for `ttl_ms`."""
        self.client.set(_weights(owner, digest), safetensors.numpy.save(tensors), px=ttl_ms)

    def exists(self, owner: str, digest: str) -> bool:
        return bool(self.client.exists(_weights(owner, digest)))

    def delete(self, owner: str, digests: Iterable[str]) -> None:
        self.client.delete(*(_weights(owner, digest) for digest in digests))


def cursor_after(record: ModelRecord) -> str:
    """The cursor that continues a listing below `record`."""
    return f"{record.head.created_ms}-{record.id}"


def _read_cursor(text: str) -> tuple[int, str]:
    match = re.fullmatch(CURSOR, text)
    if match is None:
        raise Unprocessable(f"{text!r} is not a cursor; pass next_cursor of the page before", pointer="after")
    return int(match[1]), match[2]


def _weights(owner: str, digest: str) -> str:
    return f"il:{owner}:weights:{digest}"
