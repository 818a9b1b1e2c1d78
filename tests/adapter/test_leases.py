"""The thread that keeps a job's lease, on a real Redis."""

from __future__ import annotations

import time
from unittest.mock import Mock

import pytest

from adapter.errors import StoreFull
from adapter.jobs import Claim
from adapter.leases import LeaseKeeper
from adapter.redis_store import now_ms
from adapter.store import Records
from tests.adapter.test_store import create, job, lapse
from tests.faults.victim import until


def claimed(records: Records, digest: str = "sha256:1") -> Claim:
    claim = records.claim(job(create(records, digest=digest)))
    assert claim is not None
    return claim


def test_a_job_may_take_longer_than_its_lease(records: Records) -> None:
    records.settings.lease_seconds = 1
    claim = claimed(records)
    with LeaseKeeper(records, 1).hold(claim) as still_ours:
        time.sleep(1.5)
        assert still_ours()
        assert records.claim(claim.job) is None
        assert records.finish(claim, 1)


def test_a_lost_lease_is_noticed(records: Records) -> None:
    claim = claimed(records)
    with LeaseKeeper(records, 0.2).hold(claim) as still_ours:
        records.delete("anna", claim.record_id)
        until(lambda: not still_ours())


def test_a_store_that_was_full_does_not_end_the_keeper(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, keeper = claimed(records), LeaseKeeper(records, 0.2)
    record = f"il:anna:model:{claim.record_id}"
    full = Mock(side_effect=StoreFull("full"))
    with keeper.hold(claim) as still_ours:
        with monkeypatch.context() as patched:
            patched.setattr(records, "extend", full)
            until(lambda: full.called)
        lapse(records, claim.job)
        until(lambda: int(records.client.hget(record, "lease_ms") or 0) > now_ms())
        assert still_ours()
        assert records.claim(claim.job) is None


def test_one_keeper_serves_one_job_after_another(records: Records) -> None:
    records.settings.lease_seconds = 0.2
    keeper = LeaseKeeper(records, 0.2)
    first, second = claimed(records, "sha256:1"), claimed(records, "sha256:2")
    with keeper.hold(first) as still_ours:
        records.delete("anna", first.record_id)
        until(lambda: not still_ours())
    assert records.extend(second)
    with keeper.hold(second) as still_ours:
        time.sleep(0.5)
        assert still_ours()
    until(lambda: records.claim(second.job) is not None)  # not kept after the job ended
