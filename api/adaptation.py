"""From a support set as it arrived to a stored model, ready or on its way."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adapter import support_set
from adapter.errors import (
    AdaptationFailed,
    AdaptationTimeout,
    Canceled,
    InnerloopError,
    MetaModelGone,
    NotFound,
    NotReady,
    Unprocessable,
)
from adapter.keys import Key
from adapter.models import AUTO, Adaptation, ClassCount, ModelRecord, ModelSpec, Origin, job_name, new_model_id
from adapter.redis_store import now_ms
from adapter.store import Arrays, Created
from adapter.support_set import SupportSet
from adapter.webhooks import Webhook
from api import pictures
from api.decode import Payload
from api.pictures import Reading
from api.requests import AdaptInput
from api.schemas_requests import AdaptationIn
from api.services import Services
from meta_models.catalogue import DEFAULT_ALIAS, UnknownMetaModelError
from meta_models.inputs import modality_of
from meta_models.manifest import Manifest

CLASSIFY_TTL_SECONDS = 120
ACCEPT_TRIES = 10
"""Models of the same content that others may delete before a request gives up."""

RESTORE_SECONDS = 60.0
"""That a request waits for weights that were evicted, all tries together."""

RESTORE_TRIES = 3
"""What was adapted again may be evicted before it is read."""

LOOK_SECONDS = 1.0
"""Between two looks at whether a worker that goes on with a model's job put its weights back."""


@dataclass(frozen=True)
class Prepared:
    """A validated request: the record to write and the support set's stored form."""

    name: str | None
    spec: ModelSpec
    support: bytes
    ttl_seconds: int


def prepare(services: Services, given: AdaptInput, *, ephemeral: bool = False) -> Prepared:
    """Validate and decode; CPU work only.

    Raises:
        Unprocessable: names what is wrong and where.
    """
    asked = given.options.meta_model
    named = DEFAULT_ALIAS[_modality(given.support)] if asked in (None, AUTO) else asked
    try:
        manifest = services.catalogue.resolve(named).manifest
    except UnknownMetaModelError as error:
        raise Unprocessable(str(error.args[0]), code="unknown_meta_model", pointer="/meta_model") from error
    if asked == AUTO and given.options.adaptation != AdaptationIn():
        raise Unprocessable(
            '"auto" takes the settings of what it chooses; leave out adaptation, or name a meta-model',
            code="invalid_request",
            pointer="/adaptation",
        )
    support_set.check_labels(given.labels, manifest.limits)
    reading = _read(services, given, manifest)
    manifest = reading.manifest
    support_set.check_counts(given.labels, manifest.limits)
    settings = _settings(manifest, given.options.adaptation)
    support = support_set.canonical(
        given.labels, reading.inputs, [p.pointer for p in given.support], other=reading.other
    )
    candidates = _candidates(services, reading, asked)
    spec = describe(manifest, settings, support, once=ephemeral, candidates=candidates)
    ttl = CLASSIFY_TTL_SECONDS if ephemeral else given.options.ttl_seconds or services.settings.usual_ttl_seconds
    if ttl > services.settings.max_ttl_seconds:
        raise Unprocessable(
            f"ttl_seconds is at most {services.settings.max_ttl_seconds}, not {ttl}",
            code="invalid_request",
            pointer="/ttl_seconds",
        )
    return Prepared(given.options.name, spec, support_set.encode(support), ttl)


N_OTHERS = 5
"""Meta-models that `auto` tries beside the default: each costs time, and of many one looks better by chance."""


def _modality(support: Sequence[Payload]) -> str:
    """Of most examples, or of the first among as many; the others are held to it when they are read."""
    votes = Counter(payload.modality or modality_of(payload.content) for payload in support)
    return votes.most_common(1)[0][0] if votes else "image"


def _read(services: Services, given: AdaptInput, manifest: Manifest) -> Reading:
    """The support set as `manifest` reads it; pictures of a client that names no meta-model as their kind's does.

    Raises:
        Unprocessable: lists every example that cannot be used.
    """
    asked = given.options.meta_model
    if asked in (None, AUTO) and manifest.modality == "image":
        of = pictures.defaults(services.catalogue)
        if len(of) > 1:
            may_choose = given.options.adaptation == AdaptationIn()
            return pictures.read(services.decoder, given.support, of, both=asked == AUTO, may_choose=may_choose)
    return Reading(manifest, services.decoder.support(given.support, manifest.input))


def _candidates(services: Services, reading: Reading, asked: str | None) -> tuple[str, ...]:
    """The default, that of the other kind of picture, and for `auto` the best others that read the very same inputs."""
    rival = [reading.rival] if reading.rival else []
    others = services.catalogue.ranked(reading.manifest.input) if asked == AUTO else []
    found = [m.reference for m in [*rival, *others] if m.reference != reading.manifest.reference][:N_OTHERS]
    return (reading.manifest.reference, *found) if found or asked == AUTO else ()


def describe(
    manifest: Manifest,
    settings: Adaptation,
    support: SupportSet,
    *,
    once: bool = False,
    candidates: tuple[str, ...] = (),
    origin: Origin | None = None,
) -> ModelSpec:
    """The record of a support set; with `once` its tensors are nobody else's and go at once.

    With `candidates` a worker is to choose among them; the same content with the same candidates is the same model.
    """
    chosen = settings.model_dump()
    named = " ".join((AUTO, *candidates)) if candidates else manifest.reference
    return ModelSpec(
        meta_model=manifest.reference,
        modality=manifest.modality,
        input_shape=support.inputs.shape[1:],
        classes=tuple(ClassCount(name=n, examples=c) for n, c in zip(support.classes, support.counts, strict=True)),
        adaptation=settings,
        digest=support.digest(named, chosen),
        weights=f"once-{secrets.token_hex(16)}" if once else support.weights_digest(manifest.reference, chosen),
        ephemeral=once,
        candidates=candidates,
        origin=origin,
    )


@dataclass(frozen=True)
class Accepted:
    """A model that will not be lost. `record`: that of a new one whose adaptation has ended, where it is known."""

    id: str
    is_new: bool
    record: ModelRecord | None


async def accept(
    services: Services,
    who: Key,
    prepared: Prepared,
    deadline: float,
    idempotency_key: str | None = None,
    webhook: Webhook | None = None,
) -> Accepted:
    """Write record, job and nudge in one step: from here on nothing is lost. Wait for a new model's adaptation to end.

    It is waited for from before it can end, so that nobody need read a record that cannot be ready yet; what came of it
    is mostly told with the wake, else `settle` reads it.

    Raises:
        NoWorker, QueueFull, StoreFull: try again later.
        IdempotencyKeyInUse: the key came with other content.
        QuotaExceeded: the API key may not.
    """
    fingerprint, model_id = _fingerprint(prepared, webhook), new_model_id()
    job = job_name(who.owner, model_id)

    def write() -> Created:
        services.records.require_worker()
        return services.records.create(
            who.owner,
            prepared.spec,
            prepared.support,
            prepared.ttl_seconds,
            model_id=model_id,
            name=prepared.name,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
            key=who,
            webhook=webhook,
            nudge=services.publisher.message(job),
        )

    with services.waiter.expect(job) as woken:
        created = await services.in_store(write)
        if created.is_new:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), max(0.0, deadline - within(0)))
    record = ModelRecord.heard(who.owner, woken.record, now_ms()) if created.is_new and woken.record else None
    return Accepted(created.id, created.is_new, record)


async def adapted(
    services: Services,
    who: Key,
    prepared: Prepared,
    deadline: float,
    idempotency_key: str | None = None,
    webhook: Webhook | None = None,
) -> tuple[ModelRecord, bool]:
    """The record of `accept` once its adaptation ended, or as it is at `deadline`; and whether it is a new one.

    Raises:
        Canceled: it was new, and somebody deleted it meanwhile.
        NotReady: one that was there already was deleted meanwhile, again and again.
        Others: as `accept`.
    """
    for _ in range(ACCEPT_TRIES):
        accepted = await accept(services, who, prepared, deadline, idempotency_key, webhook)
        try:
            record = accepted.record or await settle(services, who.owner, accepted.id, deadline)
        except NotFound as error:
            if accepted.is_new:
                raise Canceled(f"model {accepted.id} was deleted meanwhile; adapt again to get one") from error
            continue
        return record, accepted.is_new
    raise NotReady("the model of the same content is being deleted all the time; send the same again", retry_after=1)


def within(seconds: float) -> float:
    """When that many seconds are over, as the event loop tells time."""
    return asyncio.get_running_loop().time() + seconds


def _adapted(record: ModelRecord) -> bool:
    return not record.is_open


async def settle(
    services: Services,
    owner: str,
    model_id: str,
    deadline: float,
    version: int = 1,
    until: Callable[[ModelRecord], bool] = _adapted,
) -> ModelRecord:
    """The version's record once its adaptation ended, or as it is at `deadline` or when the server is told to stop.

    Raises:
        NotFound: deleted meanwhile.
    """
    with services.waiter.expect(job_name(owner, model_id, version)) as woken:
        while True:
            record = await services.in_store(services.records.get, owner, model_id, version)
            left = deadline - within(0)
            if until(record) or left <= 0 or services.waiter.stopping:
                return record
            try:
                await asyncio.wait_for(woken.wait(), left)
            except TimeoutError:
                return await services.in_store(services.records.get, owner, model_id, version)
            woken.clear()


def manifest_of(services: Services, record: ModelRecord) -> Manifest:
    """Of the meta-model that a version was adapted from.

    Raises:
        MetaModelGone: it, or that version of it, is not published here any more.
    """
    try:
        return services.catalogue.resolve(record.spec.meta_model).manifest
    except UnknownMetaModelError as error:
        raise MetaModelGone(
            f"model {record.id} was adapted from {record.spec.meta_model}, which is not published here any more; "
            "post its support set again, or serve that folder again (INNERLOOP_META_MODELS_DIR)"
        ) from error


async def adapted_tensors(services: Services, record: ModelRecord) -> Arrays:
    """The model's tensors: from memory, from the weights store, or adapted again, once for all who wait.

    Raises:
        NotReady: adapting has not ended.
        Canceled: it never will.
        MetaModelGone: its meta-model, or that version of it, is not published here any more.
        AdaptationFailed: it failed.
        NoWorker: there is nobody to adapt it again.
        AdaptationTimeout: adapting again takes too long.
    """
    if record.status in ("failed", "canceled"):
        raise failure(record)
    if record.status != "ready":
        raise NotReady(f"model {record.id} is {record.status}; ask again once it is ready", retry_after=1)
    digest, files = record.spec.weights, manifest_of(services, record).files_digest
    deadline = within(RESTORE_SECONDS)
    tries = 0
    while tries < RESTORE_TRIES and within(0) < deadline:
        tensors = services.cache.get(record.owner, digest)
        if tensors is None:
            tensors = await services.in_weights(services.weights.get, record.owner, digest, files)
            if tensors is not None and not record.spec.ephemeral:
                services.cache.put(record.owner, digest, tensors)
        if tensors is not None:
            return tensors
        await services.in_store(services.records.require_worker)
        if await services.in_store(services.records.request_restore, record):
            await services.in_store(services.publisher.nudge, record.job_name)
        look = min(deadline, within(LOOK_SECONDS))
        record = await settle(services, record.owner, record.id, look, record.version, until=lambda r: not r.job)
        if record.job and services.waiter.stopping:
            break
        if not record.job:
            tries += 1
            if record.error:
                raise failure(record)
    raise AdaptationTimeout(f"the weights of model {record.id} are being adapted again", retry_after=2)


def failure(record: ModelRecord) -> InnerloopError:
    """The error a client reads of an adaptation that failed or was canceled."""
    if record.status == "canceled":
        return Canceled(f"adapting model {record.id} was canceled; adapt again to get a model")
    if record.error is None:
        return AdaptationFailed(f"adapting model {record.id} failed")
    return AdaptationFailed(f"adapting model {record.id} failed: {record.error.detail}", code=record.error.code)


def _settings(manifest: Manifest, asked: AdaptationIn) -> Adaptation:
    """Defaults of the meta-model where the client says nothing.

    Raises:
        Unprocessable: beyond the manifest's limits, or the meta-model has no inner loop.
    """
    inner = manifest.inner_loop
    if inner is None:
        if asked.inner_steps or asked.inner_lr is not None:
            raise Unprocessable(
                f"{manifest.reference} adapts without an inner loop; leave out inner_steps and inner_lr",
                code="no_inner_loop",
                pointer="/adaptation",
            )
        return Adaptation()
    steps = inner.inner_steps if asked.inner_steps is None else asked.inner_steps
    rate = inner.inner_lr if asked.inner_lr is None else asked.inner_lr
    if steps > inner.max_inner_steps:
        raise Unprocessable(
            f"inner_steps is at most {inner.max_inner_steps} for {manifest.reference}, not {steps}",
            code="invalid_request",
            pointer="/adaptation/inner_steps",
        )
    if not 0 < rate <= inner.max_inner_lr:
        raise Unprocessable(
            f"inner_lr is at most {inner.max_inner_lr} for {manifest.reference}, not {rate}",
            code="invalid_request",
            pointer="/adaptation/inner_lr",
        )
    return Adaptation(inner_steps=steps, inner_lr=rate)


def _fingerprint(prepared: Prepared, webhook: Webhook | None) -> str:
    told = [prepared.spec.digest, prepared.name, prepared.ttl_seconds, *([webhook.url] if webhook else [])]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
