"""What the API answers, as JSON; what it takes is in `schemas_requests`."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from adapter.models import Adaptation, ClassCount, ModelRecord, ModelSpec, Status
from adapter.quality import Quality
from api import quality as words
from api.schemas_quality import ModelQuality
from meta_models.manifest import Calibration, Figure, InnerLoop, Limits, Manifest, Training


class Timings(BaseModel):
    """Milliseconds: waiting for a worker, adapting, and from acceptance to ready."""

    queue: float | None = Field(default=None, examples=[1.2])
    adapt: float | None = Field(default=None, examples=[18.0])
    total: float | None = Field(default=None, examples=[24.9])


class ModelError(BaseModel):
    """Why adapting failed."""

    code: str
    detail: str


class ModelTrial(BaseModel):
    """A meta-model that `auto` tried."""

    meta_model: str
    accuracy: float = Field(description="On examples held out of the support set, a fold at a time.")
    difference: float = Field(description="To the default's accuracy on the same examples.")
    standard_error: float = Field(description="Of that difference.")


class ModelSelection(BaseModel):
    """How `auto` chose: another than the default, tried first, where it is better by more than chance explains."""

    method: Literal["cross_validation"] = "cross_validation"
    folds: int
    n: int = Field(description="Examples that could be held out: those that are not their class's only one.")
    chosen: str
    tried: list[ModelTrial]
    reason: str

    @classmethod
    def of(cls, spec: ModelSpec) -> ModelSelection | None:
        """What a record says of the choice; None where there was none or it is still to be made."""
        made = spec.selection
        if made is None:
            return None
        tried = [ModelTrial(**trial.model_dump()) for trial in made.tried]
        default, best = tried[0], max(tried, key=lambda t: t.difference)
        if not made.n:
            reason = "no class has two different examples, so none can be held out: the default"
        elif spec.meta_model != default.meta_model:
            reason = f"{spec.meta_model} is better than the default by more than chance explains (5%, one-sided)"
        elif best.difference > 0:
            reason = f"{best.meta_model} is better by so little that it may be chance: the default"
        else:
            reason = "none is better than the default"
        return cls(folds=made.folds, n=made.n, chosen=spec.meta_model, tried=tried, reason=reason)


class Model(BaseModel):
    """An adapted model."""

    id: str = Field(examples=["mdl_2f6d0c3e9f0b4d7c8a55f3e1c9b7a6d4"])
    object: Literal["model"] = "model"
    status: Status
    version: int = Field(default=1, description="What is shown here and asked by default: the newest that is ready.")
    latest_version: int = 1
    stable_version: int = Field(default=1, description="What `?version=stable` asks; moves only when patched.")
    name: str | None = Field(examples=["letters"])
    meta_model: str = Field(description="What was used, with its version.", examples=["omniglot-protonet@1"])
    modality: str = Field(examples=["image"])
    digest: str = Field(
        description="Names meta-model version, settings, examples and labels.", examples=["sha256:9f86d0818…"]
    )
    classes: list[ClassCount]
    adaptation: Adaptation
    selection: ModelSelection | None = Field(
        default=None, description="What was tried and how each scored; null where nothing had to be tried."
    )
    false_reject_rate: float | None = Field(
        default=None,
        examples=[None],
        description="Target share of known queries that may be rejected; null: the meta-model's 5%.",
    )
    quality: ModelQuality | None = Field(default=None, description="null until it is measured, soon after `ready`.")
    timings_ms: Timings
    created_at: datetime
    expires_at: datetime
    error: ModelError | None = Field(default=None, examples=[None])

    @classmethod
    def of(cls, record: ModelRecord) -> Model:
        """As a client sees a record; classes in the order of their names."""
        spec = record.spec
        return cls(
            id=record.id,
            status=record.status,
            version=record.version,
            latest_version=record.head.latest,
            stable_version=record.head.stable,
            name=record.head.name,
            meta_model=spec.meta_model,
            modality=spec.modality,
            digest=spec.digest,
            classes=sorted(spec.classes, key=lambda c: c.name),
            adaptation=spec.adaptation,
            selection=ModelSelection.of(spec),
            false_reject_rate=record.head.false_reject,
            quality=worded_quality(record),
            timings_ms=timings(record),
            created_at=moment(record.head.created_ms),
            expires_at=moment(record.expires_ms),
            error=model_error(record),
        )


class ModelList(BaseModel):
    """A page of models, newest first; pass `next_cursor` as `after` for the next one."""

    data: list[Model]
    has_more: bool
    next_cursor: str | None


class Score(BaseModel):
    label: str = Field(examples=["ka"])
    probability: float = Field(examples=[0.93])


class ItemError(BaseModel):
    """What is wrong with one input; the others are answered."""

    code: str
    status: int
    detail: str


class Result(BaseModel):
    """Answer to one input: `label` is null where it is unlike every class."""

    id: str | None = None
    label: str | None = None
    confidence: float | None = None
    rejected: bool | None = None
    scores: list[Score] | None = None
    error: ItemError | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "q1",
                    "label": "ka",
                    "confidence": 0.93,
                    "rejected": False,
                    "scores": [{"label": "ka", "probability": 0.93}, {"label": "ga", "probability": 0.07}],
                },
                {"id": "q2", "error": {"code": "undecodable_image", "status": 422, "detail": "the image is damaged"}},
            ]
        }
    )


class Predictions(BaseModel):
    """One result per input, in order."""

    model: str = Field(examples=["mdl_2f6d0c3e9f0b4d7c8a55f3e1c9b7a6d4"])
    version: int = 1
    results: list[Result]


class Classified(BaseModel):
    """Answers of a one-request classification."""

    meta_model: str
    classes: list[ClassCount]
    results: list[Result]
    timings_ms: Timings


class InputCard(BaseModel):
    modality: str
    kind: str
    shape: tuple[int | str, ...] = Field(description="Of one example; a name is a size that the support set decides.")
    preprocessing: dict[str, Any]


class MetaModel(BaseModel):
    """A published initialization, with its limits and what was measured of it."""

    name: str
    version: int
    reference: str = Field(description="`name@version`.")
    object: Literal["meta_model"] = "meta_model"
    description: str
    modality: str
    algorithm: str
    backbone: dict[str, Any]
    aliases: list[str]
    input: InputCard
    limits: Limits
    inner_loop: InnerLoop | None
    bytes_per_class: int = Field(description="Adapted tensors that grow with each class, in bytes.")
    bytes_per_example: int = Field(description="Adapted tensors that grow with each support example, in bytes.")
    bytes_fixed: int = Field(description="Adapted tensors that grow with neither, in bytes.")
    benchmarks: tuple[Figure, ...]
    calibration: tuple[Calibration, ...]
    training: Training

    @classmethod
    def of(cls, manifest: Manifest, aliases: list[str]) -> MetaModel:
        shapes = manifest.adapted_tensors.values()
        return cls(
            **manifest.model_dump(
                include={
                    "name",
                    "version",
                    "description",
                    "backbone",
                    "limits",
                    "inner_loop",
                    "benchmarks",
                    "calibration",
                    "training",
                }
            ),
            reference=manifest.reference,
            modality=manifest.modality,
            algorithm=manifest.algorithm["name"],
            aliases=aliases,
            input=InputCard(
                modality=manifest.modality,
                kind=manifest.input.kind,
                shape=manifest.input.shape,
                preprocessing=manifest.input.model_dump(),
            ),
            bytes_per_class=sum(_bytes(s) for s in shapes if "n_way" in s),
            bytes_per_example=sum(_bytes(s) for s in shapes if "n_support" in s),
            bytes_fixed=sum(_bytes(s) for s in shapes if not {"n_way", "n_support"} & set(s)),
        )


class MetaModelList(BaseModel):
    data: list[MetaModel]


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Ready when records and weights answer and a worker lives."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, bool]


class ProblemItem(BaseModel):
    pointer: str | None = Field(default=None, examples=["/support/3/input/image"])
    code: str | None = Field(default=None, examples=["undecodable_image"])
    detail: str = Field(examples=["example 3 (label 'ka'): the image is damaged"])


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=["urn:innerloop:problem:undecodable_image"])
    title: str = Field(examples=["Unprocessable"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["1 of 10 examples cannot be used; the first: …"])
    instance: str = Field(examples=["/v1/models"])
    code: str = Field(examples=["undecodable_image"])
    request_id: str = Field(examples=["req_5c1c9a0d2f"])
    retryable: bool = Field(examples=[False])
    errors: list[ProblemItem]


def worded_quality(record: ModelRecord) -> ModelQuality | None:
    """A record's quality, where it is measured."""
    if not record.quality:
        return None
    return words.word(Quality.model_validate_json(record.quality), record.spec.classes)


def model_error(record: ModelRecord) -> ModelError | None:
    """Why a version failed."""
    if record.status != "failed" or record.error is None:
        return None
    return ModelError(code=record.error.code, detail=record.error.detail)


def timings(record: ModelRecord) -> Timings:
    return Timings(queue=record.queue_ms, adapt=record.adapt_ms, total=record.total_ms)


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _bytes(shape: tuple[int | str, ...]) -> int:
    """Of a float32 tensor, for one class and one example."""
    return 4 * math.prod(size for size in shape if isinstance(size, int))
