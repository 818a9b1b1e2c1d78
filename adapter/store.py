"""Every Redis key, TTL and codec. Two roles: records must never be lost, weights are a cache.

il:{owner}:model:{id}        hash    the record: spec, status, job, lease; and what all versions share
il:{owner}:model:{id}.{n}    hash    the same of version n, from 2 on
il:{owner}:support:{id}[.n]  string  the support set of a version
il:{owner}:events:{id}       stream  status changes and support losses of all versions
il:{owner}:models            zset    ids by creation
il:{owner}:stored, :sizes    zset, hash  ids by end of life, bytes of their support sets
il:{owner}:digest:{digest}   string  content to id, of models that have not grown
il:{owner}:idempotency:{h}   hash    Idempotency-Key to fingerprint and id
il:{owner}:idempotency       zset    those that are remembered, by the end of their life
il:{owner}:webhooks:{id}     hash    who is told of a model: url to secret
il:{owner}:messages:{id}     set     messages of a model that are to be sent
il:jobs                      zset    open jobs by the time someone must look at them
il:webhooks, :{message}      zset, hash  messages by the time they are to be sent, and each
il:webhooks:asked:{h}        string  the message that the same content, posted again, was told by
il:deleted:{call}            string  a deletion, for as long as it may be sent again
il:worker:{name}             string  a worker that lives
il:workers                   set     names of those that said so
il:{owner}:weights:{digest}  string  adapted tensors (weights role)

API keys and their use: `keys`, `usage`. What the whole service does: `tally`. The parts: `lookup` (what there
is), `admission` (whether there is room), `jobs` (leases), `versions` (models that change), `events` (the stream),
`weights` (the other role), and here how models come and go.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import secrets
from dataclasses import dataclass

from adapter import redis_store
from adapter.admission import Admission, queue_full
from adapter.errors import IdempotencyKeyInUse, LostUpdate, NotFound, StoreFull, Unprocessable
from adapter.events import Events
from adapter.jobs import Claim, Jobs
from adapter.keys import LOCAL, Key
from adapter.lookup import CURSOR, Lookup, WhichVersion, cursor_after
from adapter.models import ModelSpec, job_name, new_model_id
from adapter.redis_store import (
    DONE_CHANNEL,
    JOBS,
    MESSAGES,
    OWNERS,
    QUEUE,
    TOMBSTONE_MS,
    connect,
    events_key,
    record_key,
    stored_keys,
    support_key,
    webhooks_key,
)
from adapter.tally import Tally
from adapter.usage import over_quota, today, usage_key
from adapter.versions import Patch, Versions
from adapter.webhooks import Webhook
from adapter.weights import Arrays, Weights

__all__ = [
    "CURSOR",
    "DONE_CHANNEL",
    "JOBS",
    "Arrays",
    "Claim",
    "Created",
    "Patch",
    "Records",
    "Weights",
    "WhichVersion",
    "connect",
    "cursor_after",
]


@dataclass(frozen=True)
class Created:
    """Outcome of `Records.create`: `is_new` is false where the same model existed already."""

    id: str
    is_new: bool


class Records(Lookup, Admission, Jobs, Versions, Events, Tally):
    """Model records, support sets and jobs. Scripts make each change in one step."""

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
        nudge: bytes = b"",
    ) -> Created:
        """Store a model with its job unless the same content or key has one.

        A new model is called `model_id`, where that is given; `nudge` goes into `QUEUE` with it, and tells a worker.

        A `webhook` of the same content again is told at once of a model that is ready.

        Raises:
            IdempotencyKeyInUse: the key came with other content before.
            QueueFull, StoreFull: try again later.
            QuotaExceeded: of `key`.
        """
        refused: StoreFull | None = None
        try:
            self.require_room(len(support))
        except StoreFull as error:
            refused = error  # not what is there already
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
                OWNERS,
                QUEUE,
            ],
            [
                model_id,
                job_name(owner, model_id),
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
                nudge,
                int(refused is None),
                self.settings.max_queued_jobs,
            ],
        )
        if outcome == b"refused" and refused is not None:
            raise refused
        if outcome == b"full":
            raise queue_full(found)
        if outcome == b"quota":
            raise over_quota(key, found, *rest)
        if outcome == b"webhooks":
            raise Unprocessable(
                f"model {found.decode()} tells as many addresses as it may: ten",
                code="too_many_webhooks",
                pointer="/webhook/url",
            )
        if outcome == b"conflict":
            raise IdempotencyKeyInUse(
                f"Idempotency-Key {idempotency_key!r} was used for other content (model {found.decode()}); "
                "use a new key for a new request"
            )
        return Created(found.decode(), outcome == b"created" or found.decode() == model_id)

    def delete(self, owner: str, model_id: str, revision: int | None = None) -> set[str]:
        """Forget a model and what belongs to it, messages to its webhooks too; the names of its versions' weights.

        Raises:
            NotFound: no such model, or another owner's.
            LostUpdate: it is not at `revision` any more.
        """
        record = self.peek(owner, model_id, 1)
        if record is None:
            raise NotFound(f"no model {model_id!r}")
        weights = self.weights(owner, model_id, record.head)
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
                MESSAGES,
                f"il:deleted:{secrets.token_hex(8)}",
            ],
            [model_id, job_name(owner, model_id), DONE_CHANNEL, revision or ""],
        )
        if existed == -1:
            raise LostUpdate(f"model {model_id} was changed meanwhile; read it again and try anew")
        if not existed:  # another request was faster
            raise NotFound(f"no model {model_id!r}")
        return weights
