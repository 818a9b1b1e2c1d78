"""What there is of an owner's models: one of them, its versions, a page of all. Changes only what lists them, by taking
out of it what expired."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

from adapter.errors import Expired, NotFound, Unprocessable
from adapter.models import Head, ModelRecord, ModelSpec, record_id
from adapter.redis_store import RedisStore, now_ms, record_key, stored_keys, support_key

CURSOR = r"([0-9]{1,15})-(mdl_[0-9a-f]{32})"

WhichVersion = int | Literal["stable", "latest"] | None
"""A number, the stable one, the newest, or what is served by default: the newest that is ready, else the newest."""


class Lookup(RedisStore):
    """Read, by owner."""

    def get(self, owner: str, model_id: str, version: WhichVersion = None) -> ModelRecord:
        """A version of a model, whatever its status.

        Raises:
            NotFound: no such model or version, or another owner's.
            Expired: its time is over.
        """
        record = self.peek(owner, model_id, version)
        if record is None:
            of = f"version {version} of a " if isinstance(version, int) else ""
            raise NotFound(f"no {of}model {model_id!r}")
        if record.status == "expired":
            raise Expired(f"model {model_id!r} has expired; adapt again to get a new one")
        return record

    def peek(self, owner: str, model_id: str, version: WhichVersion = None) -> ModelRecord | None:
        """The same, expired or not, or None."""
        return self._version(owner, model_id, self._fields(owner, model_id), version)

    def _version(
        self, owner: str, model_id: str, fields: dict[bytes, bytes], version: WhichVersion = None
    ) -> ModelRecord | None:
        """Of the model whose first version's record has `fields`."""
        if "." in model_id or not fields:  # a dot would name another version's record
            return None
        head = Head.read(fields)
        number = {"stable": head.stable, "latest": head.latest}.get(version, 0) if isinstance(version, str) else version
        candidates = range(head.latest, 0, -1) if number is None else [number]
        newest: ModelRecord | None = None
        for n in candidates:
            if not 1 <= n <= head.latest:
                return None
            found = fields if n == 1 else self._fields(owner, record_id(model_id, n))
            if not found:  # deleted between the two reads
                return None
            record = self._measured(ModelRecord.read(owner, head, found, now_ms()))
            if number is not None or record.status in ("ready", "expired"):
                return record
            newest = newest or record
        return newest

    def newest_open(self, owner: str, model_id: str) -> ModelRecord:
        """The newest version that is still being adapted, else the newest.

        Raises:
            NotFound, Expired: as `get`.
        """
        return self.get(owner, model_id, int(self.run("open", [record_key(owner, model_id)], [])))

    def newest_kept(self, owner: str, model_id: str) -> ModelRecord:
        """The version that a change starts from: the newest that did not fail and was not canceled, else the first.

        Raises:
            NotFound, Expired: as `get`.
        """
        newest = record = self.get(owner, model_id, "latest")
        while record.status in ("failed", "canceled") and record.version > 1:
            record = self.get(owner, model_id, record.version - 1)
            # The revision that comes with a record guards the change, so it must not be younger than the choice.
            if record.head.revision != newest.head.revision:
                newest = record = self.get(owner, model_id, "latest")
        return record

    def versions(self, owner: str, model_id: str, limit: int, below: int | None) -> list[ModelRecord]:
        """Versions from the newest down, those below number `below`; one more than `limit` where there are more.

        Raises:
            NotFound, Expired: as `get`.
        """
        now = now_ms()
        head = self.get(owner, model_id, 1).head
        start = min(head.latest, (below or head.latest + 1) - 1)
        ids = [record_id(model_id, n) for n in range(start, max(0, start - limit - 1), -1)]
        found = self._several(owner, ids)
        if not all(found):  # deleted meanwhile
            raise NotFound(f"no model {model_id!r}")
        return [self._measured(ModelRecord.read(owner, head, fields, now)) for fields in found]

    def list(self, owner: str, limit: int, after: str | None) -> tuple[list[ModelRecord], bool]:
        """Newest first, those older than cursor `after`; and whether there are more.

        A cursor is a place in time, so it outlives the model it was made from.

        Raises:
            Unprocessable: `after` is not a cursor.
        """
        at, last = _read_cursor(after) if after is not None else (None, "")
        records: list[ModelRecord] = []
        while len(records) <= limit and (page := self._older(owner, at, last, limit + 1 - len(records))):
            ids = [model_id for model_id, _ in page]
            last, at = page[-1]
            found = [self._version(owner, i, f) for i, f in zip(ids, self._several(owner, ids), strict=True)]
            self._unlist(owner, dict(zip(ids, found, strict=True)))
            records += [r for r in found if r is not None and r.status != "expired"]
        return records[:limit], len(records) > limit

    def weights(self, owner: str, model_id: str, head: Head) -> set[str]:
        """Names of the adapted tensors of all versions."""
        with self.client.pipeline(transaction=False) as together:
            for n in range(1, head.latest + 1):
                together.hget(record_key(owner, record_id(model_id, n)), "spec")
            specs = cast("list[bytes | None]", together.execute())
        return {ModelSpec.model_validate_json(spec).weights for spec in specs if spec}

    def support(self, owner: str, record_id: str) -> bytes | None:
        """The stored support set of a version, or None where the model is gone."""
        return cast("bytes | None", self.client.get(support_key(owner, record_id)))

    def stored(self, owner: str) -> tuple[int, int]:
        """How many models an owner has, and the bytes of their support sets."""
        models, size = self.run("stored", stored_keys(owner), [])
        return int(models), int(size)

    def exists(self, owner: str, record_id: str) -> bool:
        """Whether a version was not deleted."""
        return bool(self.client.exists(record_key(owner, record_id)))

    def _measured(self, record: ModelRecord) -> ModelRecord:
        """With the quality of the version whose classes were renamed, which may have come after the new names."""
        if record.quality or record.quality_of is None:
            return record
        measured = record_key(record.owner, record_id(record.id, record.quality_of))
        quality = cast("bytes | None", self.client.hget(measured, "quality"))
        return replace(record, quality=quality.decode()) if quality else record

    def _older(self, owner: str, at: int | None, last: str, most: int) -> list[tuple[str, int]]:
        """Ids and when they were created, newest first, from below `last`, created at `at`: a place, where a count of
        those before would move with every deletion. `most`, but for all of one millisecond."""
        key = f"il:{owner}:models"
        pages: list[Any] = []
        if at is not None:  # of those created in the same millisecond, the ones from `last` up were listed before
            pages += self.client.zrevrangebyscore(key, at, at, withscores=True)
        below = "+inf" if at is None else f"({at}"
        pages += self.client.zrevrangebyscore(key, below, "-inf", 0, most, withscores=True)
        return [(i.decode(), int(ms)) for i, ms in pages if int(ms) != at or i.decode() < last]

    def _unlist(self, owner: str, found: Mapping[str, ModelRecord | None]) -> None:
        """Take out of the list what is over by Redis's clock: where this machine's is ahead, others show it still."""
        gone = [model_id for model_id, record in found.items() if record is None]
        expired = [record for record in found.values() if record is not None and record.status == "expired"]
        if expired:
            seconds, _ = self.client.time()
            gone += [record.id for record in expired if record.expires_ms <= 1000 * seconds]
        if gone:
            self.client.zrem(f"il:{owner}:models", *gone)

    def _fields(self, owner: str, record_id: str) -> dict[bytes, bytes]:
        return cast("dict[bytes, bytes]", self.client.hgetall(record_key(owner, record_id)))

    def _several(self, owner: str, record_ids: Sequence[str]) -> Sequence[dict[bytes, bytes]]:
        """The same of each, in one question."""
        with self.client.pipeline(transaction=False) as together:
            for record_id in record_ids:
                together.hgetall(record_key(owner, record_id))
            return cast("list[dict[bytes, bytes]]", together.execute())


def cursor_after(record: ModelRecord) -> str:
    """The cursor that continues a listing below `record`."""
    return f"{record.head.created_ms}-{record.id}"


def _read_cursor(text: str) -> tuple[int, str]:
    match = re.fullmatch(CURSOR, text)
    if match is None:
        raise Unprocessable(f"{text!r} is not a cursor; pass next_cursor of the page before", pointer="after")
    return int(match[1]), match[2]
