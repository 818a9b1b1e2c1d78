"""What goes in and out as JSON, with the examples that the OpenAPI document shows."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.json_schema import SkipJsonSchema

from adapter.models import Adaptation, ClassCount, ModelRecord, ModelSpec, Status
from adapter.quality import Quality
from api import quality as words
from api.schemas_quality import ModelQuality
from meta_models.inputs import MODALITIES
from meta_models.manifest import Calibration, Figure, InnerLoop, Limits, Manifest, Training

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAABgAAAAYAQAAAADIDABVAAAAQ0lEQVR42lXMoRGAMAAEwcuZ4KADUkrKpxAKiGQYJo8FsXZLQH4G"
    "gyosrtkkTWYnV6QgNzKQEzkge0zD2eGhCpTP+QKZCROZgF3nZQAAAABJRU5ErkJggg=="
)
"""A small drawing for examples."""


def _whole(value: object) -> object:
    """5.0 is an integer to JSON Schema, and to serializers that know one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Int = Annotated[int, BeforeValidator(_whole), Field(le=2**53 - 1)]
"""Within what every JSON parser reads exactly (RFC 7493)."""


class In(BaseModel):
    """Strict: text is no number, and neither is `true`."""

    model_config = ConfigDict(extra="forbid", strict=True)


VersionIn = Annotated[Int, Field(ge=1, le=10**9)] | Literal["stable", "latest"] | None

FileIn = Annotated[
    str | bytes, WithJsonSchema({"type": "string", "format": "byte", "contentEncoding": "base64"}), Field()
]
"""Base64 in JSON, bytes in MessagePack."""


def _left_out(schema: dict[str, Any]) -> None:
    """A member that may be absent, but not null."""
    schema.pop("default")


class Content(In):
    """One input: the member that names the meta-model's modality."""

    image: FileIn | SkipJsonSchema[None] = Field(
        default=None,
        description="A PNG, JPEG, WebP, GIF, BMP or TIFF file: in base64, or as bytes where the body is MessagePack.",
        examples=[PNG],
        json_schema_extra=_left_out,
    )
    vector: list[float] | SkipJsonSchema[None] = Field(
        default=None,
        description="An embedding or a row of numbers; as many in every input of a model.",
        examples=[[0.12, -0.5, 0.33]],
        json_schema_extra=_left_out,
    )

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"oneOf": [{"required": [n]} for n in ("image", "vector")]}
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        found = [name for name in MODALITIES if name in self.model_fields_set]
        if len(found) != 1 or getattr(self, found[0]) is None:
            raise ValueError(f"one of {', '.join(sorted(MODALITIES))} is needed, found {' and '.join(found) or 'none'}")
        return self

    @property
    def modality(self) -> str:
        return next(name for name in MODALITIES if getattr(self, name) is not None)

    @property
    def content(self) -> Any:
        """What the member holds."""
        return getattr(self, self.modality)


class SupportExample(In):
    """One labelled example."""

    label: str = Field(examples=["ka"])
    input: Content


class AdaptationIn(In):
    """Inner-loop settings; null takes the meta-model's default."""

    inner_steps: Int | None = Field(default=None, ge=0)
    inner_lr: float | None = Field(default=None, gt=0)


class WebhookIn(In):
    """Who is told when the model, or a later version of it, is ready or failed. Signed after Standard Webhooks."""

    url: str = Field(max_length=2000, examples=["https://example.com/innerloop"])
    secret: str | None = Field(default=None, max_length=200, description="`whsec_…`; left out: the API key's own.")


class AdaptOptions(In):
    """Everything of an adapt request but its examples."""

    meta_model: str | None = Field(
        default=None,
        description="A published name, `name@version`, an alias, or `auto`; left out: the modality's alias.",
    )
    name: str | None = Field(default=None, max_length=200, description="A name for people; the id is what counts.")
    adaptation: AdaptationIn = AdaptationIn()
    ttl_seconds: Int | None = Field(default=None, ge=60, description="Life of the model; default 604,800 (7 days).")
    webhook: WebhookIn | None = None


class AdaptRequest(AdaptOptions):
    """A support set to adapt to."""

    support: list[SupportExample] = Field(json_schema_extra={"minItems": 2})

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "meta_model": "omniglot-protonet",
                    "name": "letters",
                    "support": [
                        {"label": "ka", "input": {"image": PNG}},
                        {"label": "ga", "input": {"image": PNG}},
                    ],
                }
            ]
        },
    )


class QueryInput(Content):
    """One input to classify; `id` comes back with its answer."""

    id: str | None = Field(default=None, max_length=200)


class PredictRequest(In):
    """Inputs to classify."""

    version: VersionIn = Field(default=None, description="As the query parameter `version`.")

    inputs: list[QueryInput] = Field(json_schema_extra={"minItems": 1})
    top_k: Int = Field(default=5, ge=1, description="Scores listed for each input, best first.")

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"inputs": [{"id": "q1", "image": PNG}], "top_k": 3}]}
    )


class ClassifyRequest(In):
    """A support set and queries in one request; nothing is kept."""

    meta_model: str | None = None
    support: list[SupportExample] = Field(json_schema_extra={"minItems": 2})
    adaptation: AdaptationIn = AdaptationIn()
    inputs: list[QueryInput] = Field(json_schema_extra={"minItems": 1})
    top_k: Int = Field(default=5, ge=1)

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "support": [
                        {"label": "ka", "input": {"image": PNG}},
                        {"label": "ga", "input": {"image": PNG}},
                    ],
                    "inputs": [{"id": "q1", "image": PNG}],
                }
            ]
        },
    )


class ExportRequest(In):
    """What to take away: a self-contained ONNX classifier, or the adapted tensors in safetensors."""

    format: Literal["onnx", "safetensors"]

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"format": "onnx"}]})


class ModelPatch(In):
    """What to change; fields that are left out stay. null takes the default again."""

    name: str | None = Field(default=None, max_length=200)
    ttl_seconds: Int | None = Field(default=None, ge=60, description="Life from now on.")
    stable: Int | None = Field(default=None, ge=1, description="The version that `?version=stable` asks.")
    false_reject_rate: float | None = Field(
        default=None, ge=0, lt=1, description="Target share of known queries that may be rejected; 0 rejects nothing."
    )

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "letters, checked", "ttl_seconds": 86400}]}
    )


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
    """How `auto` chose: another than the default, tried first, where it is better by more than a standard error."""

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
            reason = "every class has one example, so none can be held out: the default"
        elif spec.meta_model != default.meta_model:
            reason = f"{spec.meta_model} is better than the default by more than a standard error"
        elif best.difference > 0:
            reason = f"{best.meta_model} is better by less than a standard error, which may be chance: the default"
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
    selection: ModelSelection | None = Field(default=None, description="What `auto` tried and how each scored.")
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
