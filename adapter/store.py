"""Every Redis key, TTL and codec. Two roles: records must never be lost, weights are a cache.

il:{owner}:model:{id}        hash    the record: spec, status, job, lease
il:{owner}:support:{id}      string  the support set
il:{owner}:models            zset    ids by creation
il:{owner}:digest:{digest}   string  content to id
il:{owner}:idempotency:{h}   hash    Idempotency-Key to fingerprint and id
il:jobs                      zset    open jobs by the time someone must look at them
il:worker:{name}             string  a worker that lives
il:{owner}:weights:{digest}  string  adapted tensors (weights role)
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import redis
import safetensors.numpy
from numpy.typing import NDArray
from redis.backoff import ExponentialBackoff
from redis.exceptions import OutOfMemoryError
from redis.retry import Retry

from adapter.config import Settings
from adapter.errors import Expired, IdempotencyKeyInUse, NotFound, QueueFull, StoreFull, Unprocessable
from adapter.models import JobError, ModelRecord, ModelSpec, dump_error

DONE_CHANNEL = "il:done"
JOBS = "il:jobs"

TOMBSTONE_MS = 30 * 86_400_000
"""An expired model answers 410 for this long, then 404."""

IDEMPOTENCY_MS = 86_400_000
GRACE_MS = 2_000
"""A job that no worker claimed for this long gets another nudge."""

WATERMARK = 0.9
"""Share of the record store's memory above which no new model is admitted."""

WORKER_TTL_SECONDS = 15
LARGEST_BATCH = 100

Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Claim:
    """A job held by this worker until its lease runs out."""

    job: str
    token: str
    attempt: int
    spec: ModelSpec

    @property
    def owner(self) -> str:
        return self.job.split("/")[0]

    @property
    def model_id(self) -> str:
        return self.job.split("/")[1]


@dataclass(frozen=True)
class Created:
    """Outcome of `Records.create`: `is_new` is false where the same model existed already."""

    id: str
    is_new: bool


def connect(url: str, timeout: float = 3.0) -> redis.Redis:
    """A client that outlives a restart of Redis: retried for about two seconds, every command idempotent."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        health_check_interval=5,
        retry=Retry(ExponentialBackoff(cap=0.4, base=0.02), 8),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError],
    )


class Records:
    """Model records, support sets and jobs. Scripts make each change in one step."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self.client = client
        self._settings = settings
        self._scripts = {
            path.stem: client.register_script(path.read_text())
            for path in (Path(__file__).parent / "lua").glob("*.lua")
        }
        self._admitted_until = 0.0

    def create(
        self,
        owner: str,
        spec: ModelSpec,
        support: bytes,
        ttl_seconds: int,
        *,
        name: str | None = None,
        idempotency_key: str | None = None,
        fingerprint: str = "",
    ) -> Created:
        """Store a model with its job, unless the same content or key has one.

        Raises:
            IdempotencyKeyInUse: the key came with other content before.
            QueueFull, StoreFull: try again later.
        """
        self._admit()
        model_id = "mdl_" + secrets.token_hex(16)
        key_hash = hashlib.sha256((idempotency_key or "").encode()).hexdigest()
        outcome, found = self._run(
            "create",
            [
                _record(owner, model_id),
                f"il:{owner}:support:{model_id}",
                f"il:{owner}:models",
                f"il:{owner}:digest:{spec.digest}",
                f"il:{owner}:idempotency:{key_hash}",
                JOBS,
            ],
            [
                model_id,
                f"{owner}/{model_id}",
                spec.model_dump_json(),
                support,
                ttl_seconds * 1000,
                TOMBSTONE_MS,
                GRACE_MS,
                int(not spec.ephemeral),
                fingerprint if idempotency_key else "",
                IDEMPOTENCY_MS,
                _record(owner, ""),
                name or "",
            ],
        )
        if outcome == b"conflict":
            raise IdempotencyKeyInUse(
                f"Idempotency-Key {idempotency_key!r} was used for other content (model {found.decode()}); "
                "use a new key for a new request"
            )
        return Created(found.decode(), outcome == b"created" or found.decode() == model_id)

    def get(self, owner: str, model_id: str) -> ModelRecord:
        """The record, whatever its status.

        Raises:
            NotFound: no such model, or another owner's.
            Expired: its time is over.
        """
        record = self.peek(owner, model_id)
        if record is None:
            raise NotFound(f"no model {model_id!r}")
        if record.status == "expired":
            raise Expired(f"model {model_id!r} has expired; adapt again to get a new one")
        return record

    def peek(self, owner: str, model_id: str) -> ModelRecord | None:
        """The record, expired or not, or None."""
        fields = cast("dict[bytes, bytes]", self.client.hgetall(_record(owner, model_id)))
        return ModelRecord.read(owner, fields, _now_ms()) if fields else None

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

    def delete(self, owner: str, model_id: str) -> ModelRecord:
        """Forget a model and what belongs to it.

        Raises:
            NotFound: no such model, or another owner's.
        """
        record = self.peek(owner, model_id)
        if record is None:
            raise NotFound(f"no model {model_id!r}")
        self._run(
            "delete",
            [
                _record(owner, model_id),
                f"il:{owner}:support:{model_id}",
                f"il:{owner}:models",
                f"il:{owner}:digest:{record.spec.digest}",
                JOBS,
            ],
            [model_id, f"{owner}/{model_id}", DONE_CHANNEL],
        )
        return record

    def support(self, owner: str, model_id: str) -> bytes | None:
        """The stored support set, or None where the model is gone."""
        return cast("bytes | None", self.client.get(f"il:{owner}:support:{model_id}"))

    def request_restore(self, record: ModelRecord) -> bool:
        """Open a job that adapts again because the weights are gone; false where one is open."""
        job = f"{record.owner}/{record.id}"
        return bool(self._run("restore", [_record(record.owner, record.id), JOBS], [job, GRACE_MS]))

    def claim(self, job: str) -> Claim | None:
        """Take a job under a lease; None where it is done, taken or has killed too many workers."""
        owner, model_id = job.split("/")
        token = secrets.token_hex(8)
        attempts = self._settings.max_attempts
        given_up = JobError("worker_died", f"{attempts} workers died or fell silent while adapting this support set")
        answer = self._run(
            "claim",
            [_record(owner, model_id), JOBS],
            [job, token, self._lease_ms, attempts, dump_error(given_up), DONE_CHANNEL],
        )
        if not answer:
            return None
        return Claim(job, token, int(answer[0]), ModelSpec.model_validate_json(answer[1]))

    def extend(self, claim: Claim) -> bool:
        """Renew the lease; false where it was lost or the model deleted."""
        return bool(self._run("extend", self._keys(claim), [claim.job, claim.token, self._lease_ms]))

    def finish(self, claim: Claim, adapt_ms: float) -> bool:
        """The weights are stored: the model is ready. False where the lease was lost."""
        return self._end(claim, "ready", "", adapt_ms)

    def fail(self, claim: Claim, error: JobError) -> bool:
        """Adapting this support set cannot work."""
        return self._end(claim, "failed", dump_error(error), 0)

    def retry(self, claim: Claim) -> bool:
        """Give the job back; the attempt counts."""
        return self._end(claim, "retry", "", 0)

    def due_jobs(self, limit: int = 100) -> list[str]:
        """Open jobs that nobody is working on."""
        return [job.decode() for job in self._run("due", [JOBS], [GRACE_MS, limit])]

    def beat(self, worker: str) -> None:
        """Say that this worker lives."""
        self.client.set(f"il:worker:{worker}", "1", ex=WORKER_TTL_SECONDS)

    def retire(self, worker: str) -> None:
        """Say that this worker ends."""
        self.client.delete(f"il:worker:{worker}")

    def has_worker(self) -> bool:
        """Whether any worker said so lately."""
        workers = cast("Iterator[bytes]", self.client.scan_iter("il:worker:*", count=1000))
        return next(workers, None) is not None

    def lock(self, name: str, seconds: float) -> bool:
        """Whether this process may do `name` now; for everyone else it is taken for `seconds`."""
        return bool(self.client.set(f"il:lock:{name}", "1", nx=True, px=int(seconds * 1000)))

    @property
    def _lease_ms(self) -> int:
        return int(self._settings.lease_seconds * 1000)

    def _end(self, claim: Claim, outcome: str, error: str, adapt_ms: float) -> bool:
        arguments = [claim.job, claim.token, outcome, error, round(adapt_ms, 3), DONE_CHANNEL]
        return bool(self._run("finish", self._keys(claim), arguments))

    def _keys(self, claim: Claim) -> list[str]:
        return [_record(claim.owner, claim.model_id), JOBS]

    def _admit(self) -> None:
        """Refuse new models while the queue or the memory is full; checked at most twice a second."""
        if time.monotonic() < self._admitted_until:
            return
        queued = self.client.zcard(JOBS)
        if queued >= self._settings.max_queued_jobs:
            raise QueueFull(f"{queued} jobs are waiting, the most this server queues", retry_after=5)
        memory = self.client.info("memory")
        if memory["maxmemory"] and memory["used_memory"] > WATERMARK * memory["maxmemory"]:
            raise StoreFull("the store of models is full; delete models or raise its memory", retry_after=30)
        self._admitted_until = time.monotonic() + 0.5

    def _run(self, script: str, keys: list[str], arguments: list[Any]) -> Any:
        try:
            return self._scripts[script](keys=keys, args=arguments)
        except OutOfMemoryError as error:
            raise StoreFull("the store of models is full; delete models or raise its memory", retry_after=30) from error


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

    def delete(self, owner: str, digest: str) -> None:
        self.client.delete(_weights(owner, digest))


def cursor_after(record: ModelRecord) -> str:
    """The cursor that continues a listing below `record`."""
    return f"{record.created_ms}-{record.id}"


def _read_cursor(text: str) -> tuple[int, str]:
    created, dash, model_id = text.partition("-")
    if not (dash and created.isdecimal() and model_id):
        raise Unprocessable(f"{text!r} is not a cursor; pass next_cursor of the page before", pointer="after")
    return int(created), model_id


def _record(owner: str, model_id: str) -> str:
    return f"il:{owner}:model:{model_id}"


def _weights(owner: str, digest: str) -> str:
    return f"il:{owner}:weights:{digest}"


def _now_ms() -> int:
    return int(time.time() * 1000)
