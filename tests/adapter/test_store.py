"""Records, jobs and leases on a real Redis: each script in the order things really go wrong."""

from __future__ import annotations

import time

import numpy as np
import pytest
import redis
import safetensors.numpy

from adapter import lookup
from adapter.errors import Expired, IdempotencyKeyInUse, NotFound, QueueFull
from adapter.models import Adaptation, ClassCount, JobError, ModelRecord, ModelSpec
from adapter.redis_store import GRACE_MS, now_ms
from adapter.store import DONE_CHANNEL, JOBS, Records, Weights
from adapter.versions import Idempotency


def spec(digest: str = "sha256:1", *, ephemeral: bool = False) -> ModelSpec:
    return ModelSpec(
        meta_model="m@1",
        modality="image",
        classes=(ClassCount(name="a", examples=1), ClassCount(name="b", examples=2)),
        adaptation=Adaptation(),
        digest=digest,
        weights="w" + digest,
        ephemeral=ephemeral,
    )


def create(records: Records, owner: str = "anna", digest: str = "sha256:1", ttl: int = 100) -> str:
    return records.create(owner, spec(digest), b"support", ttl).id


def remains(records: Records) -> list[bytes]:
    """What is still there of an owner, apart from what was used."""
    return [key for key in records.client.keys("il:anna:*") if b":usage:" not in key]


def job(model_id: str) -> str:
    return f"anna/{model_id}"


def lapse(records: Records, job: str) -> None:
    """What time does to a lease that nobody renews."""
    owner, record_id = job.split("/")
    records.client.hset(f"il:{owner}:model:{record_id}", "lease_ms", now_ms() - 1)
    records.client.zadd(JOBS, {job: now_ms() - 1})


def test_a_job_runs_once(records: Records) -> None:
    model_id = create(records)
    claim = records.claim(job(model_id))
    assert claim is not None
    assert claim.support == b"support"
    assert claim.expires_ms == records.get("anna", model_id).expires_ms
    assert records.claim(job(model_id)) is None
    assert records.get("anna", model_id).status == "adapting"
    assert records.finish(claim, 12.5)
    record = records.get("anna", model_id)
    assert (record.status, record.job, record.adapt_ms) == ("ready", "", 12.5)
    assert records.claim(job(model_id)) is None
    assert records.client.zcard(JOBS) == 0


def test_a_worker_is_there_while_it_says_so(records: Records) -> None:
    assert not records.room().workers
    records.beat("host:1")
    records.beat("host:2")
    records.retire("host:1")
    assert records.room().workers == 1
    records.client.delete("il:worker:host:2")  # what time does to a worker that was killed
    assert not records.room().workers
    assert not records.client.exists("il:workers"), "its name is kept"
    records.beat("host:2")
    assert records.room().workers == 1


def test_a_lost_lease_is_taken_over_and_fenced(records: Records) -> None:
    records.settings.lease_seconds = 0.05
    model_id = create(records)
    slow = records.claim(job(model_id))
    assert slow is not None
    time.sleep(0.06)
    heir = records.claim(job(model_id))
    assert heir is not None
    assert heir.attempt == 2
    assert not records.extend(slow)
    assert not records.finish(slow, 1)
    assert not records.fail(slow, JobError("x", "y"))
    assert records.choose(slow, spec("sha256:chosen"), b"as it reads it") is None
    assert (records.get("anna", model_id).spec, records.support("anna", model_id)) == (spec(), b"support")
    assert records.finish(heir, 2)
    assert records.choose(heir, spec("sha256:chosen"), None) is None, "too late"
    assert records.get("anna", model_id).adapt_ms == 2


def test_extending_keeps_the_lease(records: Records) -> None:
    model_id = create(records)
    claim = records.claim(job(model_id))
    assert claim is not None
    for _ in range(3):
        lapse(records, claim.job)
        assert records.extend(claim)
        assert records.claim(job(model_id)) is None
    lapse(records, claim.job)  # its worker dies
    assert records.due_jobs() == [job(model_id)]


def test_three_deaths_fail_the_model(records: Records) -> None:
    model_id = create(records)
    for _ in range(3):
        assert records.claim(job(model_id)) is not None
        lapse(records, job(model_id))
    assert records.claim(job(model_id)) is None
    record = records.get("anna", model_id)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.code == "worker_died"


def test_the_reaper_hears_of_forgotten_jobs(records: Records) -> None:
    model_id = create(records)
    for _ in range(3):
        assert records.due_jobs() == []  # handed out once per pause
        records.client.zincrby(JOBS, -GRACE_MS, job(model_id))  # which goes by
        assert records.due_jobs() == [job(model_id)]


def test_given_back_job_is_due_at_once(records: Records) -> None:
    claim = records.claim(job(create(records)))
    assert claim is not None
    assert records.retry(claim)
    assert records.due_jobs() == [claim.job]
    again = records.claim(claim.job)
    assert again is not None
    assert again.attempt == 2


def test_same_content_is_one_model(records: Records) -> None:
    first = records.create("anna", spec(), b"s", 100)
    second = records.create("anna", spec(), b"s", 100)
    assert first.is_new
    assert not second.is_new
    assert first.id == second.id
    assert records.create("bert", spec(), b"s", 100).id != first.id


def test_same_content_again_lives_as_long_as_asked_last(records: Records) -> None:
    model_id = create(records, ttl=100)
    before = records.get("anna", model_id).expires_ms
    create(records, ttl=1000)
    assert records.get("anna", model_id).expires_ms > before + 800_000
    create(records, ttl=60)
    assert records.get("anna", model_id).expires_ms > before + 800_000
    assert records.client.pttl(f"il:anna:support:{model_id}") > 900_000


def test_failed_content_may_be_tried_again(records: Records) -> None:
    model_id = create(records)
    claim = records.claim(job(model_id))
    assert claim is not None
    records.fail(claim, JobError("adaptation_diverged", "lower inner_lr"))
    again = records.create("anna", spec(), b"s", 100)
    assert again.is_new
    assert again.id != model_id


def test_an_owner_keeps_so_many_idempotency_keys(records: Records) -> None:
    """They cost no quota, also where they come with what is there already."""
    model_id = records.create("anna", spec(), b"s", 100, idempotency_key="0", fingerprint="f").id
    others, later = "il:anna:idempotency", (now_ms() + 86_400_000 + 60_000)
    records.client.zadd(others, {f"before-{n}": later for n in range(9_998)} | {"over": 1})
    records.create("anna", spec(), b"s", 100, idempotency_key="1", fingerprint="f")
    assert len(records.client.keys(f"{others}:*")) == 2
    base = records.get("anna", model_id)
    records.remember_change(base, Idempotency("2", "f"))
    assert len(records.client.keys(f"{others}:*")) == 2
    assert records.client.zcard(others) == 10_000
    assert records.changed_before("anna", model_id, Idempotency("2", "f")) == 1
    assert records.create("anna", spec(), b"s", 100, idempotency_key="0", fingerprint="g").id == model_id, "forgotten"
    assert 0 < records.client.pttl(others) <= 86_400_000


def test_idempotency_key(records: Records) -> None:
    first = records.create("anna", spec(), b"s", 100, idempotency_key="k", fingerprint="f")
    again = records.create("anna", spec(), b"s", 100, idempotency_key="k", fingerprint="f")
    assert (first.id, again.is_new) == (again.id, False)
    [kept] = records.client.keys("il:anna:idempotency:*")
    assert 86_300_000 < records.client.pttl(kept) <= 86_400_000
    with pytest.raises(IdempotencyKeyInUse, match=first.id):
        records.create("anna", spec("sha256:2"), b"s", 100, idempotency_key="k", fingerprint="g")
    assert records.create("bert", spec("sha256:2"), b"s", 100, idempotency_key="k", fingerprint="g").is_new


def test_owners_see_only_their_own(records: Records) -> None:
    model_id = create(records)
    for call in (records.get, records.delete):
        with pytest.raises(NotFound):
            call("bert", model_id)
    assert records.list("bert", 10, None) == ([], False)


def test_expired_answers_expired(records: Records) -> None:
    model_id = create(records)
    records.client.hset(f"il:anna:model:{model_id}", "expires_ms", int(time.time() * 1000) - 1)
    with pytest.raises(Expired):
        records.get("anna", model_id)
    assert records.list("anna", 10, None) == ([], False)
    assert records.claim(job(model_id)) is None
    assert records.client.zcard(JOBS) == 0, "nobody is told of its job again"
    assert records.create("anna", spec(), b"s", 100).is_new


def test_a_fast_clock_ends_nothing_that_is_asked_once(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    once = records.create("anna", spec(ephemeral=True), b"s", 100).id
    monkeypatch.setattr(lookup, "now_ms", lambda: now_ms() + 300_000)
    assert records.get("anna", once).status == "queued"


def test_deleted_while_adapting(records: Records) -> None:
    model_id = create(records)
    claim = records.claim(job(model_id))
    assert claim is not None
    records.delete("anna", model_id)
    assert not records.extend(claim)
    assert not records.finish(claim, 1)
    assert records.peek("anna", model_id) is None
    assert remains(records) == []


def test_restore_opens_one_job(records: Records) -> None:
    model_id = create(records)
    claim = records.claim(job(model_id))
    assert claim is not None
    records.finish(claim, 1)
    record = records.get("anna", model_id)
    assert [records.request_restore(record) for _ in range(3)] == [True, False, False]
    again = records.claim(job(model_id))
    assert again is not None
    assert records.get("anna", model_id).status == "ready"
    records.finish(again, 99)
    assert records.get("anna", model_id).adapt_ms == 1  # the figures are those of the first time


def test_the_message_of_an_end_brings_the_record(records: Records) -> None:
    """Of a first version; a later one is less than all there is of its model."""
    name = 'naïve\n"ka"/'
    model_id = records.create("anna", spec(), b"support", 100, name=name).id
    with records.client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(DONE_CHANNEL)
        heard.get_message(timeout=1)
        for outcome in ("first", "second"):
            if outcome == "second":
                records.grow(records.get("anna", model_id), spec("sha256:2"), b"support")
            claim = records.claim(job(model_id) if outcome == "first" else f"{job(model_id)}.2")
            assert claim is not None
            assert records.finish(claim, 1.5, '{"given": [0]}')
            message = heard.get_message(timeout=1)
            assert message is not None
            about, _, record = message["data"].partition(b"\n")
            assert about.decode() == claim.job
            if outcome == "first":
                assert ModelRecord.heard("anna", record, now_ms()) == records.get("anna", model_id)
            else:
                assert not record


def test_a_full_queue_refuses(records: Records) -> None:
    model_id = create(records)
    claim = records.claim(job(model_id))
    assert claim is not None
    assert records.finish(claim, 1)
    for number in range(2, 7):
        create(records, digest=f"sha256:{number}")
    with pytest.raises(QueueFull, match="5 jobs are waiting") as refused:
        create(records, digest="sha256:more")
    assert refused.value.retry_after
    with pytest.raises(QueueFull, match="5 jobs are waiting"):
        records.grow(records.get("anna", model_id), spec("sha256:more"), b"more")
    assert create(records) == model_id, "what is there already needs no room"
    assert records.grow(records.get("anna", model_id), spec("sha256:more"), b"renamed", quality="") == 2
    assert records.client.zcard(JOBS) == 5


def test_weights_round_trip(client: redis.Redis) -> None:
    weights = Weights(client)
    tensors = {"prototypes": np.arange(6, dtype=np.float32).reshape(2, 3)}
    assert weights.get("anna", "d", "files") is None
    weights.put("anna", "d", tensors, 60_000, "files")
    found = weights.get("anna", "d", "files")
    assert found is not None
    assert np.array_equal(found["prototypes"], tensors["prototypes"])
    assert weights.get("bert", "d", "files") is None
    assert weights.get("anna", "d", "other files") is None
    client.set("il:anna:weights:d", safetensors.numpy.save(tensors))
    assert weights.get("anna", "d", "files") is not None, "stored by an earlier release"


def test_a_served_model_is_ready_while_its_job_goes_on(records: Records) -> None:
    model_id = create(records)
    claim = records.claim(job(model_id))
    assert claim is not None
    assert not claim.measured
    assert records.serve(claim, 5)
    record = records.get("anna", model_id)
    assert (record.status, record.job, record.adapt_ms) == ("ready", "running", 5)
    lapse(records, claim.job)  # its worker dies before the quality is stored
    heir = records.claim(job(model_id))
    assert heir is not None
    assert not heir.measured
    assert not records.finish(claim, 6, "{}")
    assert records.finish(heir, 7, '{"some": "quality"}')
    record = records.get("anna", model_id)
    assert (record.status, record.job, record.adapt_ms, record.quality) == ("ready", "", 5, '{"some": "quality"}')
    assert records.request_restore(record)
    again = records.claim(job(model_id))
    assert again is not None
    assert again.measured
    records.finish(again, 1)
    assert records.get("anna", model_id).quality == '{"some": "quality"}'


def test_a_served_model_whose_measuring_fails_stays_ready(records: Records) -> None:
    model_id = create(records)
    for _ in range(3):
        claim = records.claim(job(model_id))
        assert claim is not None
        records.serve(claim, 5)
        lapse(records, claim.job)
    assert records.claim(job(model_id)) is None
    record = records.get("anna", model_id)
    assert (record.status, record.job) == ("ready", "")


def test_a_clock_that_went_back_stops_nothing(records: Records, client: redis.Redis) -> None:
    """Locks, and workers' keys, of an hour that comes again."""
    client.set("il:lock:reaper", "1", ex=3600)
    assert records.lock("reaper", 1)
    client.set("il:worker:host:1", "1", ex=3600)
    client.sadd("il:workers", "host:1")
    assert records.room().workers == 0
