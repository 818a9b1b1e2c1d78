"""Redis did what it was told, and its answer was lost on the way: the call is sent again and must mean the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.connection import AbstractConnection

from adapter.errors import NotFound
from adapter.store import Patch, Records
from tests.adapter.test_store import create, job, spec

Lose = Callable[[], None]


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch, records: Records) -> Lose:
    """Lose the next answer of a script."""
    # Scripts are sent whole the first time, with another answer in between.
    records.claim("anna/none")
    records.patch("anna", create(records, digest="sha256:0"), spec("sha256:0").digest, Patch(name="x"), None)
    base = records.newest_kept("anna", create(records, digest="sha256:00"))
    records.grow(base, spec("sha256:000"), b"more")
    records.delete("anna", create(records, digest="sha256:0000"))
    records.client.flushdb()
    read = AbstractConnection.read_response
    left: list[int] = []

    def read_response(self: AbstractConnection, *args: Any, **more: Any) -> Any:
        answer = read(self, *args, **more)
        if left:
            left.pop()
            self.disconnect()
            raise redis.ConnectionError("lost")
        return answer

    monkeypatch.setattr(AbstractConnection, "read_response", read_response)
    return lambda: left.append(1)


def test_a_job_is_claimed_by_the_one_who_asks_again(records: Records, lose: Lose) -> None:
    model_id = create(records)
    lose()
    claim = records.claim(job(model_id))
    assert claim is not None
    assert (claim.attempt, claim.support) == (1, b"support")
    assert records.claim(job(model_id)) is None
    assert records.finish(claim, 1)


def test_a_version_is_written_once(records: Records, lose: Lose) -> None:
    model_id = create(records)
    base = records.newest_kept("anna", model_id)
    lose()
    assert records.grow(base, spec("sha256:2"), b"more") == 2
    head = records.get("anna", model_id, 2).head
    assert (head.latest, head.revision) == (2, base.head.revision + 1)


def test_a_patch_is_no_lost_update_of_itself(records: Records, lose: Lose) -> None:
    model_id = create(records)
    revision = records.get("anna", model_id).head.revision
    lose()
    records.patch("anna", model_id, spec().digest, Patch(name="letters"), revision)
    head = records.get("anna", model_id).head
    assert (head.name, head.revision) == ("letters", revision + 1)


def test_a_model_is_deleted_by_the_one_who_asks_again(
    records: Records, lose: Lose, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_id = create(records)
    peek = records.peek

    def then_lose(*args: Any) -> Any:
        found = peek(*args)
        if args[2:]:  # the last read before the script
            lose()
        return found

    monkeypatch.setattr(records, "peek", then_lose)
    assert records.delete("anna", model_id, 1) == {"wsha256:1"}
    with pytest.raises(NotFound):
        records.delete("anna", model_id)
