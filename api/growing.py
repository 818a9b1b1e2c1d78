"""From a change of a support set to a new version of its model, ready or on its way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from adapter import growth, support_set
from adapter.errors import LostUpdate, NotFound, NotReady, TooLarge, Unprocessable
from adapter.keys import Key
from adapter.models import ModelRecord, Origin, OriginKind, job_name
from adapter.quality import Quality, compare
from adapter.support_set import SupportSet
from adapter.versions import Idempotency
from api import adaptation
from api.asking import check_if_match, expected_revision, which_version
from api.decode import Payload
from api.quality import word_comparison
from api.schemas_quality import ExamplesComparison
from api.services import Services

TRIES = 12
"""Changes through other API processes that one without `If-Match` lets pass before it gives up."""

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0
"""Seconds between tries at most; doubling from the first to the longest."""

TURN_SECONDS = 30.0
"""That a change waits for those of the same model before it."""

Change = Callable[[SupportSet], SupportSet]


@dataclass(frozen=True)
class Grown:
    """`is_new` is false where the change changed nothing; `revision` is the model's right after it."""

    record: ModelRecord
    is_new: bool
    revision: int


async def grow(
    services: Services,
    who: Key,
    model_id: str,
    kind: OriginKind,
    change: Change,
    if_match: str | None,
    idempotency: Idempotency | None = None,
) -> Grown:
    """Apply `change` to the newest support set and store the result as a new version.

    Raises:
        MalformedRequest, NotFound, Expired, Unprocessable, LostUpdate, IdempotencyKeyInUse, NoWorker, QueueFull,
        StoreFull, QuotaExceeded.
        NotReady: others change it all the time.
    """
    check_if_match(if_match)
    async with _turn(services, who, model_id):
        for attempt in range(TRIES):
            grown = await _tried(services, who, model_id, kind, change, if_match, idempotency)
            if grown is not None:
                return grown
            await asyncio.sleep(random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)))  # noqa: S311
    raise _crowded(model_id)


async def _tried(
    services: Services,
    who: Key,
    model_id: str,
    kind: OriginKind,
    change: Change,
    if_match: str | None,
    idempotency: Idempotency | None,
) -> Grown | None:
    """The change made to the model as it is now; None where it changed meanwhile."""
    base = await services.in_store(services.records.newest_kept, who.owner, model_id)
    # Before If-Match: a request that is sent again finds the state that it made itself.
    before = idempotency and await services.in_store(_made_before, services, base, idempotency)
    if before:
        return Grown(before, is_new=False, revision=base.head.revision)
    expected_revision(if_match, base)
    old = await stored_support(services, base)
    if base.spec.input_shape not in ((), old.inputs.shape[1:]):
        return None  # a meta-model that reads the examples in another way was chosen after the record was read
    new = await services.in_compute(change, old)
    if new is old or (new.content, new.classes) == (old.content, old.classes):
        if idempotency:
            await services.in_store(services.records.remember_change, base, idempotency)
        return Grown(base, is_new=False, revision=base.head.revision)
    try:
        number = await services.in_store(_store, services, who, base, kind, old, new, idempotency)
    except LostUpdate:
        return None
    record = await services.in_store(services.records.get, who.owner, model_id, number)
    return Grown(record, is_new=True, revision=base.head.revision + 1)


@asynccontextmanager
async def _turn(services: Services, who: Key, model_id: str) -> AsyncGenerator[None]:
    """Changes of a model go one after another within this process: each reads and writes its whole support set.

    Raises:
        NotReady: too many are before this one.
    """
    turn = services.turns.setdefault(job_name(who.owner, model_id), asyncio.Lock())
    try:
        await asyncio.wait_for(turn.acquire(), TURN_SECONDS)
    except TimeoutError as error:
        raise _crowded(model_id) from error
    try:
        yield
    finally:
        turn.release()


def _crowded(model_id: str) -> NotReady:
    return NotReady(f"model {model_id} is being changed by others all the time; send the same again", retry_after=1)


async def listed(services: Services, who: Key, model_id: str, version: str | None) -> ModelRecord:
    """The version whose examples are shown: the one asked for, or the one that the next change starts from.

    Raises:
        NotFound, Expired.
    """
    if version is None:
        return await services.in_store(services.records.newest_kept, who.owner, model_id)
    return await services.in_store(services.records.get, who.owner, model_id, which_version(version))


async def stored_support(services: Services, record: ModelRecord) -> SupportSet:
    """The support set of a version.

    Raises:
        NotFound: deleted meanwhile.
    """
    data = await services.in_store(services.records.support, record.owner, record.record_id)
    if data is None:
        raise NotFound(f"no model {record.id!r}")
    return support_set.decode(data)


def adding(services: Services, record: ModelRecord, payloads: list[Payload]) -> tuple[Change, str]:
    """The change that adds these examples, validated and decoded, and what names them; CPU work only.

    Raises:
        Unprocessable: names each example that cannot be used.
        TooLarge: more than the model may have.
    """
    manifest = adaptation.manifest_of(services, record)
    labels = [p.label or "" for p in payloads]
    if not payloads:
        raise Unprocessable("examples is empty; send at least one", code="no_examples", pointer="/examples")
    if len(payloads) > manifest.limits.max_examples:
        raise TooLarge(f"at most {manifest.limits.max_examples} examples, found {len(payloads)}")
    support_set.check_names(labels, "/examples")
    inputs = services.decoder.support(payloads, manifest.input, record.spec.input_shape)
    sources = [p.pointer for p in payloads]
    fingerprint = support_set.canonical(labels, inputs, sources).digest(manifest.reference, {})
    return lambda support: growth.add_examples(support, labels, inputs, sources, manifest.input.unnamed), fingerprint


async def comparison(services: Services, record: ModelRecord) -> ExamplesComparison | None:
    """How the examples that were there before fare now; None for a first version, a new name, or not measured."""
    origin = record.spec.origin
    if origin is None or origin.kind == "class_renamed" or not record.quality:
        return None
    base = await services.in_store(services.records.get, record.owner, record.id, origin.base)
    if not base.quality:
        return None
    old, new = await stored_support(services, base), await stored_support(services, record)

    def compared() -> ExamplesComparison | None:
        before, after = (Quality.model_validate_json(r.quality) for r in (base, record))
        found = compare(old, before, new, after)
        return word_comparison(found) if found else None

    return await services.in_compute(compared)


def _made_before(services: Services, base: ModelRecord, idempotency: Idempotency) -> ModelRecord | None:
    """The version that the same request made; one that failed may be tried again."""
    number = services.records.changed_before(base.owner, base.id, idempotency)
    record = services.records.peek(base.owner, base.id, number) if number else None
    return record if record is not None and record.status not in ("failed", "canceled") else None


def _store(
    services: Services,
    who: Key,
    base: ModelRecord,
    kind: OriginKind,
    old: SupportSet,
    new: SupportSet,
    idempotency: Idempotency | None,
) -> int:
    """Write the version, then nudge a worker; a mere change of names needs none."""
    manifest = adaptation.manifest_of(services, base)
    support_set.check_counts(new.names, manifest.limits)
    was, now = (set(zip(s.example_ids, s.names, strict=True)) for s in (old, new))
    renamed = kind == "class_renamed"
    origin = Origin(
        kind=kind,
        base=base.version,
        added=0 if renamed else len(now - was),
        removed=0 if renamed else len(was - now),
    )
    # What was chosen once stays; a base that is still being adapted may have no choice yet.
    candidates = base.spec.candidates if base.spec.selection is None else ()
    spec = adaptation.describe(manifest, base.spec.adaptation, new, candidates=candidates, origin=origin)
    known = base.quality if renamed and base.status == "ready" else None
    if known is None:
        services.records.require_worker()
    support = support_set.encode(new)
    services.records.require_room(len(support))
    number = services.records.grow(base, spec, support, quality=known, key=who, idempotency=idempotency)
    if known is None:
        services.publisher.nudge(job_name(base.owner, base.id, number))
    return number
