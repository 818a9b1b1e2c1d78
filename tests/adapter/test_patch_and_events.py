"""Patches, cancellation and the stream of events, on a real Redis."""

from __future__ import annotations

import time

import pytest

from adapter.errors import LostUpdate, NotFound
from adapter.events import Steps
from adapter.models import JobError, record_id
from adapter.redis_store import now_ms
from adapter.store import DONE_CHANNEL, JOBS, Patch, Records
from adapter.webhooks import Webhook
from tests.adapter.test_store import create, job, lapse, remains, spec
from tests.receiver import SECRET


def test_a_patch_sets_what_it_names_and_counts_a_revision(records: Records) -> None:
    model_id = create(records)
    records.patch("anna", model_id, spec().digest, Patch(name="x", false_reject=0.1), None)
    head = records.get("anna", model_id).head
    assert (head.name, head.false_reject, head.revision, head.stable) == ("x", 0.1, 2, 1)
    records.patch("anna", model_id, spec().digest, Patch(name="", false_reject=""), 2)
    head = records.get("anna", model_id).head
    assert (head.name, head.false_reject, head.revision) == (None, None, 3)


def test_a_patch_for_another_revision_changes_nothing(records: Records) -> None:
    model_id = create(records)
    records.patch("anna", model_id, spec().digest, Patch(name="first"), 1)
    with pytest.raises(LostUpdate):
        records.patch("anna", model_id, spec().digest, Patch(name="second", ttl_seconds=9999), 1)
    head = records.get("anna", model_id).head
    assert (head.name, head.revision) == ("first", 2)
    assert head.expires_ms < head.created_ms + 200_000


def assert_all_ends_in(records: Records, model_id: str, seconds: int) -> None:
    """Each key by itself; that of a record a day later, which answers for its model's end until then."""
    kinds: set[str] = set()
    for name in records.client.keys(f"il:anna:*:{model_id}*") + records.client.keys("il:anna:digest:*"):
        kind = name.decode().split(":")[2]
        left = records.client.pttl(name) / 1000 - (86_400 if kind == "model" else 0)
        assert seconds - 5 < left <= seconds, name
        kinds.add(kind)
    assert kinds >= {"model", "support", "events", "webhooks"}
    versions = range(1, records.get("anna", model_id).head.latest + 1)
    ends = {records.client.hget(f"il:anna:model:{record_id(model_id, n)}", "expires_ms") for n in versions}
    assert ends == {str(records.get("anna", model_id).expires_ms).encode()}


def test_a_life_reaches_every_key(records: Records) -> None:
    webhook = Webhook("https://example.com/hook", SECRET)
    first = records.create("anna", spec(), b"s", 100, webhook=webhook).id
    assert_all_ends_in(records, first, 100)
    records.delete("anna", first)
    model_id = create(records, ttl=100)
    assert records.create("anna", spec(), b"s", 50, webhook=webhook).id == model_id
    assert_all_ends_in(records, model_id, 100)
    assert create(records, ttl=200_000) == model_id
    assert_all_ends_in(records, model_id, 200_000)
    for seconds in (400_000, 1000):
        records.patch("anna", model_id, spec().digest, Patch(ttl_seconds=seconds), None)
        assert_all_ends_in(records, model_id, seconds)
    records.grow(records.get("anna", model_id), spec("sha256:2"), b"more")
    assert_all_ends_in(records, model_id, 1000)
    records.patch("anna", model_id, spec().digest, Patch(ttl_seconds=200_000), None)
    assert_all_ends_in(records, model_id, 200_000)


def test_a_job_that_outlives_its_model_brings_no_stream_back(records: Records) -> None:
    """It would have no end."""
    model_id = create(records)
    claim = records.claim(job(model_id))
    assert claim is not None
    records.client.delete(f"il:anna:events:{model_id}")  # what time does
    claim.steps.add(0, 1.25)
    assert records.finish(claim, 1)
    assert not records.client.exists(f"il:anna:events:{model_id}")


def test_gone_models_are_not_patched(records: Records) -> None:
    model_id = create(records)
    with pytest.raises(NotFound):
        records.patch("bert", model_id, spec().digest, Patch(name="mine"), None)
    records.delete("anna", model_id)
    with pytest.raises(NotFound):
        records.patch("anna", model_id, spec().digest, Patch(name="x"), None)
    assert remains(records) == []


def test_gone_models_do_not_grow(records: Records) -> None:
    deleted, expired = (records.get("anna", create(records, digest=f"sha256:{n}")) for n in range(2))
    records.delete("anna", deleted.id)
    records.client.hset(f"il:anna:model:{expired.id}", "expires_ms", now_ms() - 1)
    before = remains(records)
    for base in (deleted, expired):
        with pytest.raises(NotFound):
            records.grow(base, spec("sha256:2"), b"more")
    assert sorted(remains(records)) == sorted(before)


def test_cancel_takes_the_job_from_its_worker(records: Records) -> None:
    model_id = create(records)
    claim = records.claim(job(model_id))
    assert claim is not None
    assert records.cancel(records.get("anna", model_id)) == "canceled"
    assert records.client.zcard(JOBS) == 0
    assert not records.extend(claim)
    assert not records.finish(claim, 1)
    assert records.claim(job(model_id)) is None
    assert records.get("anna", model_id).status == "canceled"
    assert records.create("anna", spec(), b"s", 100).id != model_id


def test_whoever_waits_hears_of_an_end_that_no_worker_tells(records: Records) -> None:
    records.settings.lease_seconds = 0.001
    deleted, canceled, given_up = (create(records, digest=f"sha256:{n}") for n in range(3))
    for _ in range(records.settings.max_attempts):
        assert records.claim(job(given_up)) is not None
        time.sleep(0.01)
    with records.client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(DONE_CHANNEL)
        heard.get_message(timeout=1)
        records.delete("anna", deleted)
        records.cancel(records.get("anna", canceled))
        assert records.claim(job(given_up)) is None
        for model_id in (deleted, canceled, given_up):
            message = heard.get_message(timeout=1)
            assert message is not None
            assert message["data"].decode() == job(model_id)


def test_what_has_ended_is_not_canceled(records: Records) -> None:
    ready, failed = create(records), create(records, digest="sha256:2")
    for model_id in (ready, failed):
        claim = records.claim(job(model_id))
        assert claim is not None
        if model_id == ready:
            records.finish(claim, 1)
        else:
            records.fail(claim, JobError("x", "y"))
    assert records.cancel(records.get("anna", ready)) == "ready"
    assert records.cancel(records.get("anna", failed)) == "failed"


def test_events_tell_the_story_once(records: Records) -> None:
    model_id = create(records)
    slow = records.claim(job(model_id))
    assert slow is not None
    assert not slow.steps.add(0, 1.25)
    assert not slow.steps.add(1, float("nan"))
    records.tell_steps("anna", model_id, slow.steps.take())
    assert not slow.steps.add(2, 0.5), "of a worker that lost its lease: never told"
    lapse(records, slow.job)
    heir = records.claim(job(model_id))
    assert heir is not None
    heir.steps.add(0, 1.25)
    records.finish(slow, 1)
    records.finish(heir, 1)
    told = records.events("anna", model_id)
    assert [(e.event, e.status, e.step, e.support_loss) for e in told] == [
        ("status", "queued", None, None),
        ("status", "adapting", None, None),
        ("step", None, 0, 1.25),
        ("step", None, 1, None),
        ("step", None, 0, 1.25),
        ("status", "ready", None, None),
    ]
    assert [e.version for e in told] == [1] * 6
    assert records.events("anna", model_id, told[1].id) == told[2:]
    assert records.events("anna", model_id, told[-1].id) == []


def test_steps_are_told_while_they_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    steps = Steps()
    due: list[int] = []
    for step in range(10):
        clock += 0.4
        if steps.add(step, 1 / 3):
            due.append(step)
            taken = steps.take()
            assert taken[-1] == (step, "0.333333")
    assert due == [2, 5, 8]
    assert steps.take() == [(9, "0.333333")]


def test_a_restore_is_no_news(records: Records) -> None:
    model_id = create(records)
    claim = records.claim(job(model_id))
    assert claim is not None
    records.finish(claim, 1)
    before = records.events("anna", model_id)
    assert records.request_restore(records.get("anna", model_id))
    again = records.claim(job(model_id))
    assert again is not None
    records.finish(again, 1)
    assert records.events("anna", model_id) == before


def test_a_step_of_a_deleted_model_leaves_nothing(records: Records) -> None:
    model_id = create(records)
    records.delete("anna", model_id)
    records.tell_steps("anna", model_id, [(0, "1.0")])
    assert remains(records) == []


def test_the_stream_is_capped(records: Records) -> None:
    model_id = create(records)
    records.tell_steps("anna", model_id, [(step, "1.0") for step in range(1500)])
    kept = records.events("anna", model_id)
    assert 1000 <= len(kept) < 1200
    assert kept[-1].step == 1499
