"""An owner's models, page by page, on a real Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from adapter import lookup
from adapter.errors import Unprocessable
from adapter.models import ModelRecord
from adapter.redis_store import now_ms
from adapter.store import Records, cursor_after
from tests.adapter.test_store import create


def pages(records: Records) -> Iterator[list[ModelRecord]]:
    """Two at a time; each goes on below the last one of the page before, whatever became of that."""
    after, more = None, True
    while more:
        page, more = records.list("anna", 2, after)
        yield page
        after = cursor_after(page[-1])


def test_a_fast_clock_takes_nothing_out_of_the_list(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API that reads a model as expired before its time hides it from its own listings only."""
    model_id, over = create(records), create(records, digest="sha256:over")
    records.client.hset(f"il:anna:model:{over}", "expires_ms", now_ms() - 2000)
    monkeypatch.setattr(lookup, "now_ms", lambda: now_ms() + 300_000)
    assert records.list("anna", 10, None) == ([], False)
    monkeypatch.undo()
    assert [record.id for record in records.list("anna", 10, None)[0]] == [model_id]
    assert records.client.zrange("il:anna:models", 0, -1) == [model_id.encode()], "what is over has left it"


def test_expired_models_leave_the_list_when_a_quota_is_looked_at(records: Records) -> None:
    """Not only when somebody pages over all of them."""
    gone, kept = create(records), create(records, digest="sha256:other")
    records.client.zadd("il:anna:stored", {gone: int(time.time() * 1000) - 2000})
    assert records.stored("anna")[0] == 1
    assert records.client.zrange("il:anna:models", 0, -1) == [kept.encode()]


def test_pages(records: Records) -> None:
    ids = []
    for number in range(5):
        ids.append(create(records, digest=f"sha256:{number}"))
        time.sleep(0.002)
    assert [r.id for page in pages(records) for r in page] == ids[::-1]
    with pytest.raises(Unprocessable, match="not a cursor"):
        records.list("anna", 2, "mdl_none")


def test_a_model_deleted_between_two_pages_hides_no_other(records: Records) -> None:
    ids = [create(records, digest=f"sha256:{number}") for number in range(5)]
    for old in ids[:3]:  # of one millisecond, more than a page
        records.client.hset(f"il:anna:model:{old}", "created_ms", 1000)
        records.client.zadd("il:anna:models", {old: 1000})
    seen: list[str] = []
    for page in pages(records):
        seen += [r.id for r in page]
        records.delete("anna", page[-1].id)
    assert sorted(seen) == sorted(ids)


def test_listing_reads_what_it_lists(records: Records) -> None:
    ids = [create(records, digest=f"sha256:{number}") for number in range(5)]
    for number, model_id in enumerate(ids):
        records.client.zadd("il:anna:models", {model_id: number})
    records.client.config_resetstat()
    page, more = records.list("anna", 1, None)
    assert ([r.id for r in page], more) == (ids[:3:-1], True)
    assert records.client.info("commandstats")["cmdstat_hgetall"]["calls"] == 2
    for gone in ids[2:]:  # a page and more that has expired
        records.client.hset(f"il:anna:model:{gone}", "expires_ms", 1)
    page, more = records.list("anna", 1, None)
    assert ([r.id for r in page], more) == ([ids[1]], True)
    assert records.client.zrange("il:anna:models", 0, -1) == [i.encode() for i in ids[:2]]
