"""Models that change: a new version for every new support set, and what may be patched without one.

A version is stored and adapted exactly as a model is, under `id.version`. What all versions share (name, life,
which one is stable, how many there are, the revision that guards lost updates) stands in the first one's record.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import cast

from adapter import redis_store
from adapter.admission import queue_full
from adapter.errors import IdempotencyKeyInUse, LostUpdate, NotFound, Unprocessable
from adapter.keys import LOCAL, Key
from adapter.models import ModelRecord, ModelSpec, Status, job_name, record_id
from adapter.redis_store import (
    DONE_CHANNEL,
    JOBS,
    MESSAGES,
    TALLY,
    TOMBSTONE_MS,
    RedisStore,
    events_key,
    record_key,
    stored_keys,
    support_key,
    webhooks_key,
)
from adapter.usage import over_quota, today, usage_key

MAX_VERSIONS = 1000
"""Each keeps its whole support set."""


@dataclass(frozen=True)
class Idempotency:
    """A client's key for a change, and what names the content it came with."""

    key: str
    fingerprint: str


@dataclass(frozen=True)
class Patch:
    """Fields to set; None leaves one as it is. `name` and `false_reject` are reset by an empty string."""

    name: str | None = None
    ttl_seconds: int | None = None
    stable: int | None = None
    false_reject: float | str | None = None


class Versions(RedisStore):
    """Grow, patch, cancel. `revision` names the state a change was made for; another one is a lost update."""

    def grow(
        self,
        base: ModelRecord,
        spec: ModelSpec,
        support: bytes,
        *,
        quality: str | None = None,
        key: Key = LOCAL,
        idempotency: Idempotency | None = None,
    ) -> int:
        """Store a new version and its job; its number.

        With `quality` the version is ready at once: it has the adapted tensors of `base` under other class names. An
        empty one is not measured yet; it is then read from where it is measured.

        Raises:
            LostUpdate: the model changed after `base` was read.
            NotFound: it was deleted or expired.
            QuotaExceeded: of `key`.
            QueueFull: there is no room for its job.
            Unprocessable: it has as many versions as a model may have.
        """
        number, owner, model_id = base.head.latest + 1, base.owner, base.id
        if number > MAX_VERSIONS:
            raise Unprocessable(
                f"model {model_id!r} has {MAX_VERSIONS} versions, the most there may be; adapt a new model",
                code="too_many_versions",
            )
        version_id = record_id(model_id, number)
        outcome = self.run(
            "grow",
            [
                record_key(owner, model_id),
                record_key(owner, version_id),
                support_key(owner, version_id),
                JOBS,
                events_key(owner, model_id),
                f"il:{owner}:digest:{base.head.digest}",
                usage_key(owner, key.id, today()),
                *stored_keys(owner),
                webhooks_key(owner, model_id),
                MESSAGES,
                redis_store.idempotency_key(owner, idempotency.key if idempotency else "", model_id),
            ],
            [
                model_id,
                job_name(owner, model_id, number),
                number,
                base.head.revision,
                spec.model_dump_json(),
                support,
                redis_store.GRACE_MS,
                TOMBSTONE_MS,
                "queued" if quality is None else "ready",
                quality or "",
                key.id,
                key.quota.model_dump_json(),
                idempotency.fingerprint if idempotency else "",
                redis_store.IDEMPOTENCY_MS,
                secrets.token_hex(8),
                (base.quality_of or base.version) if quality == "" else "",
                self.settings.max_queued_jobs,
            ],
        )
        if outcome[0] == b"quota":
            raise over_quota(key, *outcome[1:])
        if outcome[0] == b"full":
            raise queue_full(outcome[1])
        self._check(outcome[0], model_id)
        return number

    def changed_before(self, owner: str, model_id: str, idempotency: Idempotency) -> int | None:
        """The version that an idempotency key stands for.

        Raises:
            IdempotencyKeyInUse: the key came with other content before.
        """
        key = redis_store.idempotency_key(owner, idempotency.key, model_id)
        fingerprint, version = cast("list[bytes | None]", self.client.hmget(key, "fingerprint", "version"))
        if fingerprint is None or version is None:
            return None
        if fingerprint.decode() != idempotency.fingerprint:
            raise IdempotencyKeyInUse(
                f"Idempotency-Key {idempotency.key!r} was used for other content (version {version.decode()} of model "
                f"{model_id}); use a new key for a new request"
            )
        return int(version)

    def remember_change(self, base: ModelRecord, idempotency: Idempotency) -> None:
        """The key stands for a version that has what it brings already."""
        key = redis_store.idempotency_key(base.owner, idempotency.key, base.id)
        self.run("remember", [key], [idempotency.fingerprint, base.version, redis_store.IDEMPOTENCY_MS])

    def patch(self, owner: str, model_id: str, digest: str, patch: Patch, revision: int | None) -> None:
        """Change what needs no adapting; `digest` is the first version's.

        Raises:
            LostUpdate: the model is not at `revision` any more.
            NotFound: it was deleted or expired.
        """
        fields: list[str] = []
        for name in ("name", "stable", "false_reject"):
            value = getattr(patch, name)
            if value is not None:
                fields += [name, str(value)]
        outcome = self.run(
            "patch",
            [
                record_key(owner, model_id),
                support_key(owner, model_id),
                events_key(owner, model_id),
                f"il:{owner}:digest:{digest}",
                stored_keys(owner)[0],
                webhooks_key(owner, model_id),
            ],
            [
                model_id,
                "" if revision is None else revision,
                "" if patch.ttl_seconds is None else patch.ttl_seconds * 1000,
                TOMBSTONE_MS,
                secrets.token_hex(8),
                *fields,
            ],
        )
        self._check(outcome[0], model_id)

    def cancel(self, record: ModelRecord, idempotency: Idempotency | None = None) -> Status:
        """Stop an adaptation that has not ended; the status afterwards. What was stopped is what the key stands for.

        Raises:
            NotFound: deleted or expired meanwhile.
        """
        keys = [
            record_key(record.owner, record.record_id),
            JOBS,
            events_key(record.owner, record.id),
            TALLY,
            redis_store.idempotency_key(record.owner, idempotency.key if idempotency else "", record.id),
        ]
        told = [idempotency.fingerprint if idempotency else "", redis_store.IDEMPOTENCY_MS]
        status = self.run("cancel", keys, [record.job_name, DONE_CHANNEL, *told])
        if not status:
            raise NotFound(f"no model {record.id!r}")
        return status.decode()

    @staticmethod
    def _check(outcome: bytes, model_id: str) -> None:
        if outcome == b"stale":
            raise LostUpdate(f"model {model_id!r} was changed meanwhile; read it again and repeat the change")
        if outcome == b"gone":
            raise NotFound(f"no model {model_id!r}")
