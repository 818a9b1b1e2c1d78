"""Jobs under leases: whoever claims one holds it until the lease ends; a lost lease changes nothing any more."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace

from adapter import redis_store
from adapter.events import Steps
from adapter.models import JobError, ModelRecord, ModelSpec, dump_error
from adapter.redis_store import (
    DONE_CHANNEL,
    JOBS,
    MESSAGES,
    QUEUE,
    TALLY,
    RedisStore,
    events_key,
    record_key,
    stored_keys,
    support_key,
    webhooks_key,
)
from adapter.tally import bucket
from adapter.usage import today, usage_key


@dataclass(frozen=True)
class Claim:
    """A job held by this worker until its lease runs out.

    `support`: the stored support set. `expires_ms`: the end of its life when it was claimed. `measured`: the model's
    quality is known already. `key`: the API key that asked for it. `waited_ms`: since the job was opened.
    `steps`: of its inner loop, until they are told.
    """

    job: str
    token: str
    attempt: int
    spec: ModelSpec
    support: bytes
    expires_ms: int
    measured: bool = False
    key: str = "local"
    waited_ms: int = 0
    steps: Steps = field(default_factory=Steps, compare=False)

    @property
    def owner(self) -> str:
        return self.job.split("/")[0]

    @property
    def record_id(self) -> str:
        return self.job.split("/")[1]


class Jobs(RedisStore):
    """Claim, renew, end, hand out again."""

    def request_restore(self, record: ModelRecord) -> bool:
        """Open a job that adapts again because the weights are gone; false where one is open."""
        keys = [record_key(record.owner, record.record_id), JOBS, TALLY]
        return bool(self.run("restore", keys, [record.job_name, redis_store.GRACE_MS]))

    def claim(self, job: str) -> Claim | None:
        """Take a job under a lease; None where it is done, taken or has killed too many workers."""
        owner, record_id = job.split("/")
        token = secrets.token_hex(8)
        attempts = self.settings.max_attempts
        given_up = JobError("worker_died", f"{attempts} workers died or fell silent while adapting this support set")
        answer = self.run(
            "claim",
            [
                record_key(owner, record_id),
                JOBS,
                events_key(owner, record_id),
                webhooks_key(owner, record_id),
                MESSAGES,
                support_key(owner, record_id),
                TALLY,
            ],
            [job, token, self._lease_ms, attempts, dump_error(given_up), DONE_CHANNEL],
        )
        if not answer:
            return None
        attempt, spec, support, expires, quality, key, waited = answer
        return Claim(
            job,
            token,
            int(attempt),
            ModelSpec.model_validate_json(spec),
            support,
            int(expires),
            measured=bool(quality),
            key=key.decode(),
            waited_ms=int(waited),
        )

    def extend(self, claim: Claim) -> bool:
        """Renew the lease; false where it was lost or the model deleted."""
        return bool(self.run("extend", self._keys(claim)[:2], [claim.job, claim.token, self._lease_ms]))

    def choose(self, claim: Claim, spec: ModelSpec, support: bytes | None) -> Claim | None:
        """The claim with the spec that says what was chosen and the support set as that reads it, None for the stored
        one; None where the lease was lost."""
        keys = [
            record_key(claim.owner, claim.record_id),
            support_key(claim.owner, claim.record_id),
            stored_keys(claim.owner)[1],
        ]
        model_id = claim.record_id.split(".")[0]
        written = self.run("choose", keys, [claim.token, spec.model_dump_json(), support or b"", model_id])
        return replace(claim, spec=spec, support=support or claim.support) if written else None

    def serve(self, claim: Claim, adapt_ms: float) -> bool:
        """The weights are stored: the model is ready, the job goes on. False where the lease was lost."""
        return self._end(claim, "served", "", adapt_ms)

    def finish(self, claim: Claim, adapt_ms: float, quality: str = "") -> bool:
        """The weights are stored: the model is ready, the job over. False where the lease was lost."""
        return self._end(claim, "ready", "", adapt_ms, quality)

    def fail(self, claim: Claim, error: JobError) -> bool:
        """Adapting this support set cannot work."""
        return self._end(claim, "failed", dump_error(error), 0)

    def retry(self, claim: Claim) -> bool:
        """Give the job back; the attempt counts."""
        return self._end(claim, "retry", "", 0)

    def postpone(self, claim: Claim) -> bool:
        """Give the job back for a second: what it needs is not there, which is not its fault."""
        return self._end(claim, "postponed", "", 0)

    def due_jobs(self, limit: int = 100) -> list[str]:
        """Open jobs that nobody is working on, no more than lack a message in `QUEUE`."""
        return [
            job.decode()
            for job in self.run(
                "due", [JOBS, QUEUE], [redis_store.GRACE_MS, limit, 10 * max(self._lease_ms, redis_store.GRACE_MS)]
            )
        ]

    def lock(self, name: str, seconds: float) -> bool:
        """Whether this process may do `name` now; for everyone else it is taken for `seconds`."""
        return bool(self.run("lock", [f"il:lock:{name}"], [int(seconds * 1000)]))

    @property
    def _lease_ms(self) -> int:
        return int(self.settings.lease_seconds * 1000)

    def _end(self, claim: Claim, outcome: str, error: str, adapt_ms: float, quality: str = "") -> bool:
        arguments = [
            *(claim.job, claim.token, outcome, error, round(adapt_ms, 3), DONE_CHANNEL, quality),
            bucket(adapt_ms / 1000),
            *(part for step in claim.steps.take() for part in step),
        ]
        more = [usage_key(claim.owner, claim.key, today()), webhooks_key(claim.owner, claim.record_id), MESSAGES, TALLY]
        return bool(self.run("finish", [*self._keys(claim), *more], arguments))

    def _keys(self, claim: Claim) -> list[str]:
        return [record_key(claim.owner, claim.record_id), JOBS, events_key(claim.owner, claim.record_id)]
