"""Versions on a real Redis: leases, restores and deletion hold for them as for models."""

from __future__ import annotations

import time

import pytest

from adapter.errors import LostUpdate, NotFound, Unprocessable
from adapter.keys import Key, Quota
from adapter.models import JobError, ModelRecord
from adapter.store import JOBS, Patch, Records
from tests.adapter.test_store import create, job, lapse, remains, spec


def adapted(records: Records, record: ModelRecord) -> None:
    claim = records.claim(record.job_name)
    assert claim is not None
    assert records.finish(claim, 1)


@pytest.fixture
def model_id(records: Records) -> str:
    """A model whose first version is ready."""
    model_id = create(records)
    adapted(records, records.get("anna", model_id))
    return model_id


def grown(records: Records, model_id: str, digest: str = "sha256:2") -> ModelRecord:
    number = records.grow(records.newest_kept("anna", model_id), spec(digest), b"more", quality=None)
    return records.get("anna", model_id, number)


def test_the_newest_ready_version_is_served(records: Records, model_id: str) -> None:
    second = grown(records, model_id)
    assert (second.version, second.status, second.head.latest) == (2, "queued", 2)
    assert records.get("anna", model_id).version == 1
    assert records.get("anna", model_id, "latest").version == 2
    adapted(records, second)
    assert records.get("anna", model_id).version == 2
    assert records.get("anna", model_id, "stable").version == 1
    records.patch("anna", model_id, spec().digest, Patch(stable=2), None)
    assert records.get("anna", model_id, "stable").version == 2
    assert records.support("anna", model_id) == b"support"
    assert records.support("anna", second.record_id) == b"more"


def test_the_newest_open_version_may_be_an_older_one(records: Records) -> None:
    model_id = create(records)
    second = grown(records, model_id)
    assert records.newest_open("anna", model_id).version == 2
    records.cancel(second)
    assert records.newest_open("anna", model_id).version == 1
    adapted(records, records.get("anna", model_id, 1))
    assert records.newest_open("anna", model_id).version == 2, "the newest, where none is"
    with pytest.raises(NotFound):
        records.newest_open("otto", model_id)


def test_a_change_starts_from_what_is_being_adapted_even_as_it_gets_ready(
    records: Records, model_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that gets ready, or another that comes, between two reads must not be passed over."""
    second = grown(records, model_id)
    read, meanwhile = records.get, [lambda: adapted(records, second), lambda: grown(records, model_id, "sha256:3")]

    def get(*args: object) -> ModelRecord:
        found = read(*args)  # pyright: ignore[reportArgumentType]
        if meanwhile and found.status != "ready":
            meanwhile.pop(0)()
        return found

    monkeypatch.setattr(records, "get", get)
    assert records.newest_kept("anna", model_id).version == 2
    monkeypatch.setattr(records, "get", read)
    third = grown(records, model_id, "sha256:3")
    claim = records.claim(third.job_name)
    assert claim is not None
    assert records.fail(claim, JobError("x", "y"))
    meanwhile[:] = [lambda: grown(records, model_id, "sha256:4")]
    monkeypatch.setattr(records, "get", get)
    base = records.newest_kept("anna", model_id)
    assert (base.version, base.head.latest) == (4, 4)


def test_a_version_is_fenced_like_a_model(records: Records, model_id: str) -> None:
    second = grown(records, model_id)
    slow = records.claim(second.job_name)
    assert slow is not None
    lapse(records, second.job_name)
    heir = records.claim(second.job_name)
    assert heir is not None
    assert heir.attempt == 2
    assert not records.extend(slow)
    assert not records.finish(slow, 1)
    assert records.finish(heir, 2)
    assert records.get("anna", model_id, 2).adapt_ms == 2
    assert records.get("anna", model_id, 1).adapt_ms == 1


def test_lost_nudges_of_versions_are_healed(records: Records, model_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapter.redis_store.GRACE_MS", 50)
    second = grown(records, model_id)
    time.sleep(0.06)
    assert records.due_jobs() == [second.job_name]


def test_evicted_weights_of_a_version_open_one_job(records: Records, model_id: str) -> None:
    adapted(records, grown(records, model_id))
    second = records.get("anna", model_id)
    assert [records.request_restore(second) for _ in range(3)] == [True, False, False]
    assert records.get("anna", model_id, 1).job == ""


def test_a_change_of_an_old_state_is_a_lost_update(records: Records, model_id: str) -> None:
    base = records.newest_kept("anna", model_id)
    grown(records, model_id)
    with pytest.raises(LostUpdate):
        records.grow(base, spec("sha256:3"), b"other")
    assert records.get("anna", model_id).head.latest == 2


@pytest.mark.parametrize("ending", ["failed", "canceled"])
def test_a_version_that_came_to_nothing_is_no_base(records: Records, model_id: str, ending: str) -> None:
    second = grown(records, model_id)
    if ending == "failed":
        claim = records.claim(second.job_name)
        assert claim is not None
        records.fail(claim, JobError("x", "y"))
    else:
        records.cancel(second)
    assert records.newest_kept("anna", model_id).version == 1
    assert records.get("anna", model_id).version == 1
    third = grown(records, model_id, "sha256:3")
    assert third.version == 3
    assert records.newest_kept("anna", model_id).version == 3


def test_a_renamed_class_is_ready_without_a_job(records: Records, model_id: str) -> None:
    number = records.grow(records.newest_kept("anna", model_id), spec("sha256:2"), b"renamed", quality='{"q": 1}')
    record = records.get("anna", model_id, number)
    assert (record.status, record.job, record.quality) == ("ready", "", '{"q": 1}')
    assert (record.queue_ms, record.adapt_ms, record.total_ms) == (0, 0, 0), "nobody waited"
    assert records.client.zcard(JOBS) == 0
    assert records.claim(record.job_name) is None


def test_classes_renamed_before_the_model_is_measured_get_its_quality(records: Records) -> None:
    model_id = create(records)
    claim = records.claim(job(model_id))
    assert claim is not None
    assert records.serve(claim, 5)
    spent = Key(id="k", owner="anna", quota=Quota(adaptations_per_day=0))
    for number in (2, 3):
        base = records.newest_kept("anna", model_id)
        assert records.grow(base, spec(f"sha256:{number}"), b"renamed", quality="", key=spent) == number
        assert (records.get("anna", model_id).status, records.get("anna", model_id).quality) == ("ready", "")
    assert records.finish(claim, 5, '{"q": 1}')
    assert {records.get("anna", model_id, number).quality for number in (1, 2, 3)} == {'{"q": 1}'}
    late = records.grow(records.newest_kept("anna", model_id), spec("sha256:4"), b"renamed", quality='{"q": 1}')
    assert records.get("anna", model_id, late).quality_of is None


def test_grown_models_no_longer_stand_for_their_first_content(records: Records, model_id: str) -> None:
    assert create(records) == model_id
    grown(records, model_id)
    assert create(records) != model_id


def test_life_and_death_are_shared(records: Records, model_id: str) -> None:
    second = grown(records, model_id)
    records.patch("anna", model_id, spec().digest, Patch(ttl_seconds=1000), None)
    for key in (f"il:anna:support:{second.record_id}", f"il:anna:support:{model_id}"):
        assert records.client.pttl(key) > 900_000
    assert records.get("anna", model_id, 2).expires_ms == records.get("anna", model_id, 1).expires_ms
    assert records.delete("anna", model_id) == {"wsha256:1", "wsha256:2"}
    assert remains(records) == []
    assert records.client.zcard(JOBS) == 0


def test_versions_are_no_models(records: Records, model_id: str) -> None:
    second = grown(records, model_id)
    for call in (records.get, records.delete):
        with pytest.raises(NotFound):
            call("anna", second.record_id)
    for version in (0, 3):
        with pytest.raises(NotFound, match=f"no version {version}"):
            records.get("anna", model_id, version)
    with pytest.raises(NotFound):
        records.get("bert", model_id, 2)
    assert [r.id for r in records.list("anna", 10, None)[0]] == [model_id]


def test_pages_of_versions(records: Records, model_id: str) -> None:
    for number in range(2, 6):
        adapted(records, grown(records, model_id, f"sha256:{number}"))
    assert [r.version for r in records.versions("anna", model_id, 2, None)] == [5, 4, 3]
    assert [r.version for r in records.versions("anna", model_id, 2, 4)] == [3, 2, 1]
    assert [r.version for r in records.versions("anna", model_id, 2, 2)] == [1]


def test_each_version_is_read_once_by_a_page_and_by_a_deletion(records: Records, model_id: str) -> None:
    for number in range(2, 6):
        adapted(records, grown(records, model_id, f"sha256:{number}"))
    reads = records.client.info("commandstats")["cmdstat_hgetall"]["calls"]
    assert len(records.versions("anna", model_id, 3, None)) == 4
    assert records.client.info("commandstats")["cmdstat_hgetall"]["calls"] - reads == 1 + 4
    records.client.delete(f"il:anna:model:{model_id}.3")
    with pytest.raises(NotFound):
        records.versions("anna", model_id, 3, None)
    reads = records.client.info("commandstats")["cmdstat_hgetall"]["calls"]
    assert records.delete("anna", model_id) == {spec(f"sha256:{n}").weights for n in (1, 2, 4, 5)}
    assert records.client.info("commandstats")["cmdstat_hgetall"]["calls"] - reads == 1


def test_versions_have_an_end(records: Records, model_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapter.versions.MAX_VERSIONS", 2)
    grown(records, model_id)
    with pytest.raises(Unprocessable) as refused:
        grown(records, model_id, "sha256:3")
    assert refused.value.code == "too_many_versions"
