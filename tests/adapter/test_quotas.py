"""Quotas and usage on a real Redis: counted with what they bound, in one step."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from adapter.errors import QuotaExceeded
from adapter.keys import UNLIMITED, Key
from adapter.models import JobError
from adapter.store import Patch, Records
from adapter.usage import KEPT_DAYS, UsageStore
from tests.adapter.test_store import spec

pytestmark = pytest.mark.usefixtures("one_day")


def holding(**limits: int) -> Key:
    return Key(id="key_1", owner="anna", quota=UNLIMITED.model_copy(update=limits))


def make(records: Records, key: Key, n: int, *, ttl: int = 100, ephemeral: bool = False, size: int = 7) -> str:
    made = records.create(key.owner, spec(f"sha256:{n}", ephemeral=ephemeral), b"s" * size, ttl, key=key)
    return made.id


def used(records: Records, key: Key) -> tuple[int, float]:
    today = UsageStore(records.client).days(key.owner, key.id)[0]
    return today.adaptations, today.adapt_seconds


def test_adaptations_of_a_day(records: Records) -> None:
    key = holding(adaptations_per_day=2)
    first = make(records, key, 1)
    assert make(records, key, 1) == first, "a duplicate costs none"
    make(records, key, 2, ephemeral=True)
    with pytest.raises(QuotaExceeded, match="2 adaptations a day") as refused:
        make(records, key, 3)
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 86400
    assert make(records, key, 1) == first, "nor is one refused"
    assert used(records, key)[0] == 2
    make(records, Key(id="key_2", owner="anna"), 3)


def test_a_quota_holds_under_concurrency(records: Records) -> None:
    records.settings.max_queued_jobs = 1000
    key = holding(stored_models=3)

    def attempt(n: int) -> bool:
        try:
            make(records, key, n)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(40))) == 3
    assert records.stored("anna") == (3, 21)


def test_what_is_deleted_or_expired_makes_room(records: Records) -> None:
    key = holding(stored_models=1)
    model_id = make(records, key, 1)
    make(records, key, 2, ephemeral=True)  # keeps nothing
    with pytest.raises(QuotaExceeded, match="1 stored models") as refused:
        make(records, key, 2)
    assert refused.value.retry_after == pytest.approx(100, abs=2)
    records.delete("anna", model_id)
    assert records.stored("anna") == (0, 0)
    shorter = make(records, key, 2)
    records.patch("anna", shorter, spec("sha256:2").digest, Patch(ttl_seconds=1), None)
    time.sleep(1.1)
    make(records, key, 3)
    assert records.stored("anna") == (1, 7)


def test_a_longer_life_counts_longer(records: Records) -> None:
    key = holding(stored_models=1)
    kept = make(records, key, 1, ttl=1)
    assert make(records, key, 1, ttl=100) == kept
    time.sleep(1.1)
    with pytest.raises(QuotaExceeded):
        make(records, key, 2)


def test_bytes_of_all_versions(records: Records) -> None:
    key = holding(stored_bytes=20, adaptations_per_day=2)
    model_id = make(records, key, 1)
    base = records.get("anna", model_id)
    records.grow(base, spec("sha256:1b"), b"s" * 10, key=key)
    assert records.stored("anna") == (1, 17)
    assert used(records, key)[0] == 2
    with pytest.raises(QuotaExceeded, match="20 bytes"):
        records.grow(records.get("anna", model_id, 1), spec("sha256:1c"), b"s" * 4, quality="{}", key=key)
    with pytest.raises(QuotaExceeded, match="adaptations"):
        records.grow(records.get("anna", model_id, 1), spec("sha256:1c"), b"s", key=key)
    records.grow(records.get("anna", model_id, 1), spec("sha256:1c"), b"s", quality="{}", key=key)
    assert records.stored("anna") == (1, 18)
    records.delete("anna", model_id)
    assert records.stored("anna") == (0, 0)


def test_what_one_of_several_took_is_free_again(records: Records) -> None:
    key = holding(stored_bytes=20)
    first, second = make(records, key, 1, size=9), make(records, key, 2, size=10)
    with pytest.raises(QuotaExceeded):
        make(records, key, 3)
    records.delete("anna", first)
    assert records.stored("anna") == (1, 10)
    assert records.client.hkeys("il:anna:sizes") == [b"total", second.encode()]
    make(records, key, 3)


def test_seconds_of_adapting_are_counted_once(records: Records) -> None:
    key = holding()
    model_id = make(records, key, 1)
    claim = records.claim(f"anna/{model_id}")
    assert claim is not None
    assert claim.key == "key_1"
    assert records.serve(claim, 1500)
    assert records.finish(claim, 1500)
    assert used(records, key) == (1, 1.5)
    [usage] = records.client.keys("il:anna:usage:key_1:*")
    assert 0 < records.client.ttl(usage) <= KEPT_DAYS * 86_400
    records.request_restore(records.get("anna", model_id))
    again = records.claim(f"anna/{model_id}")
    assert again is not None
    records.finish(again, 700)
    assert used(records, key) == (1, 1.5), "an eviction is the server's"
    other = make(records, key, 2)
    failing = records.claim(f"anna/{other}")
    assert failing is not None
    records.fail(failing, JobError("adaptation_diverged", "x"))
    assert used(records, key)[0] == 2
