"""What the whole service did and has, on a real Redis: counted in the very step that it tells of."""

from __future__ import annotations

import math

from adapter.models import JobError
from adapter.store import Records
from adapter.tally import BOUNDS, Memory, bucket
from tests.adapter.test_store import create, job, lapse, spec


def test_adaptations_are_counted_by_how_they_end(records: Records) -> None:
    for number, milliseconds in enumerate((4, 20, 20, 90_000)):
        claim = records.claim(job(create(records, digest=f"sha256:{number}")))
        assert claim is not None
        assert records.finish(claim, milliseconds)
        assert not records.finish(claim, milliseconds), "twice is once"
    served = records.claim(job(create(records, digest="sha256:served")))
    assert served is not None
    records.serve(served, 300)
    records.finish(served, 700, "{}")
    failed = records.claim(job(create(records, digest="sha256:failed")))
    assert failed is not None
    records.fail(failed, JobError("x", "y"))
    records.cancel(records.get("anna", create(records, digest="sha256:canceled")))
    totals = records.totals()
    assert totals.ended == {"ready": 5, "failed": 1, "canceled": 1}
    assert {bound: n for bound, n in totals.within.items() if n} == {0.005: 1, 0.025: 2, 0.5: 1, math.inf: 1}
    assert totals.adapt_seconds == 90.344


def test_a_model_that_kills_its_workers_counts_as_failed(records: Records) -> None:
    model_id = create(records)
    for _ in range(records.settings.max_attempts):
        assert records.claim(job(model_id)) is not None
        lapse(records, job(model_id))
    assert records.claim(job(model_id)) is None
    assert records.totals().ended["failed"] == 1


def test_weights_that_are_adapted_again_are_another_count(records: Records) -> None:
    model_id = create(records)
    for again in (False, True):
        assert records.request_restore(records.get("anna", model_id)) == again
        claim = records.claim(job(model_id))
        assert claim is not None
        records.finish(claim, 1)
    totals = records.totals()
    assert (totals.ended["ready"], totals.restored) == (1, 1)


def test_jobs_by_state(records: Records) -> None:
    models = [create(records, digest=f"sha256:{number}") for number in range(3)]
    assert records.totals().jobs == {"queued": 3, "running": 0}
    assert records.claim(job(models[0])) is not None
    assert records.totals().jobs == {"queued": 2, "running": 1}
    records.delete("anna", models[1])
    assert records.totals().jobs == {"queued": 1, "running": 1}


def test_models_of_all_owners_until_their_life_ends(records: Records) -> None:
    anna = create(records)
    create(records, owner="bert")
    records.create("bert", spec("sha256:2"), b"support!", 100)
    records.create("cora", spec("sha256:3", ephemeral=True), b"once", 100)
    totals = records.totals()
    assert (totals.models, totals.support_bytes) == (3, 7 + 7 + 8)
    records.delete("anna", anna)
    assert records.totals().models == 2
    records.client.zadd("il:bert:stored", {records.client.zrange("il:bert:stored", 0, 0)[0]: 1})  # its life is over
    assert records.totals().models == 1
    assert records.client.smembers("il:owners") == {b"bert"}


def test_every_length_has_a_bucket() -> None:
    assert [bucket(seconds) for seconds in (0, 0.005, 0.0051, 60, 1e9)] == [
        *("within_0.005", "within_0.005", "within_0.01", "within_60", "within_inf")
    ]
    assert BOUNDS[-1] == math.inf


def test_memory(records: Records) -> None:
    records.client.config_set("maxmemory", 64 * 2**20)
    try:
        memory = Memory.of(records.client)
    finally:
        records.client.config_set("maxmemory", 0)
    assert memory.limit == 64 * 2**20
    assert 0 < memory.used < memory.limit
    assert memory.evicted == 0
