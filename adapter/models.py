"""What is stored of an adapted model, apart from its weights and its support set."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

AUTO = "auto"
"""What a client names instead of a meta-model to have one chosen."""

Status = Literal["queued", "adapting", "ready", "failed", "canceled", "expired"]


class ClassCount(BaseModel):
    """A class and how many support examples it has."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(examples=["ka"])
    examples: int = Field(examples=[5])


class Adaptation(BaseModel):
    """Inner-loop settings in force; both null where the meta-model takes no steps."""

    model_config = ConfigDict(frozen=True)

    inner_steps: int | None = Field(default=None, examples=[None])
    inner_lr: float | None = Field(default=None, examples=[None])


OriginKind = Literal["examples_added", "example_removed", "class_renamed", "class_removed"]


class Origin(BaseModel):
    """What made a version: a change of version `base`, in numbers of examples."""

    model_config = ConfigDict(frozen=True)

    kind: OriginKind
    base: int
    added: int
    removed: int


class Trial(BaseModel):
    """A meta-model that was tried on a support set: accuracy on examples held out of it.

    `difference` is to the default's accuracy on the same examples, with its standard error.
    """

    model_config = ConfigDict(frozen=True)

    meta_model: str
    accuracy: float
    difference: float
    standard_error: float


class Selection(BaseModel):
    """How a meta-model was chosen among several, the default first; n examples could be held out."""

    model_config = ConfigDict(frozen=True)

    folds: int
    n: int
    tried: tuple[Trial, ...]


class ModelSpec(BaseModel):
    """The part of a record that never changes, but for a choice that a worker makes once.

    `classes` are in canonical order, the order of the adapted tensors; `weights` names those tensors.
    `input_shape` is that of one example, () in records from before it was kept.
    `candidates` are meta-models of which the worker is to choose one; until `selection` says how it did, `meta_model`
    is the first of them, the default. `origin` is None for a first version.
    """

    model_config = ConfigDict(frozen=True)

    meta_model: str
    modality: str
    input_shape: tuple[int, ...] = ()
    classes: tuple[ClassCount, ...]
    adaptation: Adaptation
    digest: str
    weights: str
    ephemeral: bool = False
    candidates: tuple[str, ...] = ()
    selection: Selection | None = None
    origin: Origin | None = None

    @property
    def mean_shot(self) -> float:
        return sum(c.examples for c in self.classes) / len(self.classes)


@dataclass(frozen=True)
class JobError:
    """Why an adaptation failed."""

    code: str
    detail: str


_JOB_ERROR = TypeAdapter(JobError)


def dump_error(error: JobError) -> str:
    return _JOB_ERROR.dump_json(error).decode()


@dataclass(frozen=True)
class Head:
    """What all versions of a model share. Times are Redis time, in milliseconds.

    Attributes:
        spec: of the first version.
        latest: number of the newest version.
        stable: number of the version that `stable` names; moves only when asked.
        revision: grows with every change a client makes.
        false_reject: target share of known queries that may be rejected; None takes the meta-model's.
    """

    name: str | None
    spec: ModelSpec
    latest: int
    stable: int
    revision: int
    false_reject: float | None
    created_ms: int
    expires_ms: int

    @property
    def digest(self) -> str:
        """What the first version answers for."""
        return self.spec.digest

    @classmethod
    def read(cls, fields: Mapping[bytes, bytes]) -> Head:
        """From the fields of the first version's hash."""
        text = _text(fields)
        return cls(
            name=text.get("name") or None,
            spec=ModelSpec.model_validate_json(text["spec"]),
            latest=int(text.get("latest", 1)),
            stable=int(text.get("stable", 1)),
            revision=int(text.get("revision", 1)),
            false_reject=_number(text.get("false_reject")),
            created_ms=int(text["created_ms"]),
            expires_ms=int(text["expires_ms"]),
        )


@dataclass(frozen=True)
class ModelRecord:
    """A version of a model as Redis holds it now. Times are Redis time, in milliseconds; whether it has expired is told
    by the clock of the machine that reads it, since asking Redis would cost each request a question more.
    """

    id: str
    owner: str
    version: int
    head: Head
    spec: ModelSpec
    status: Status
    job: str
    created_ms: int
    queue_ms: float | None
    adapt_ms: float | None
    total_ms: float | None
    error: JobError | None
    quality: str
    """JSON of `adapter.quality.Quality`, empty where it is not measured."""
    quality_of: int | None
    """Number of the version that is measured for this one, of other class names."""

    @property
    def record_id(self) -> str:
        """What this version is stored under."""
        return record_id(self.id, self.version)

    @property
    def expires_ms(self) -> int:
        return self.head.expires_ms

    @property
    def job_name(self) -> str:
        return job_name(self.owner, self.id, self.version)

    @property
    def is_open(self) -> bool:
        """Adapting has not ended."""
        return self.status in ("queued", "adapting")

    @classmethod
    def read(cls, owner: str, head: Head, fields: Mapping[bytes, bytes], now_ms: int) -> ModelRecord:
        """From the fields of a record hash, at `now_ms` of the machine that reads it."""
        text = _text(fields)
        # What is asked once lives shorter than clocks may differ, and ends with its request.
        expired = head.expires_ms <= now_ms and not head.spec.ephemeral
        version = int(text.get("version", 1))
        return cls(
            id=text["id"],
            owner=owner,
            version=version,
            head=head,
            spec=head.spec if version == 1 else ModelSpec.model_validate_json(text["spec"]),
            status="expired" if expired else text["status"],  # pyright: ignore[reportArgumentType]
            job=text.get("job", ""),
            created_ms=int(text["created_ms"]),
            queue_ms=_number(text.get("queue_ms")),
            adapt_ms=_number(text.get("adapt_ms")),
            total_ms=_number(text.get("total_ms")),
            error=_JOB_ERROR.validate_json(text["job_error"]) if text.get("job_error") else None,
            quality=text.get("quality", ""),
            quality_of=int(text["quality_of"]) if text.get("quality_of") else None,
        )

    @classmethod
    def heard(cls, owner: str, record: bytes, now_ms: int) -> ModelRecord:
        """A first version from `lua/finish.lua`: the names and values of its hash in turn, as JSON."""
        told = [text.encode() for text in json.loads(record)]
        fields = dict(zip(told[::2], told[1::2], strict=True))
        return cls.read(owner, Head.read(fields), fields, now_ms)


def new_model_id() -> str:
    """Unguessable."""
    return "mdl_" + secrets.token_hex(16)


def record_id(model_id: str, version: int) -> str:
    """A version is stored as a model of its own: the first under the model's id, the others as `id.version`."""
    return model_id if version == 1 else f"{model_id}.{version}"


def job_name(owner: str, model_id: str, version: int = 1) -> str:
    """What the queue and whoever waits call the adaptation of a version."""
    return f"{owner}/{record_id(model_id, version)}"


def _text(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in fields.items()}


def _number(text: str | None) -> float | None:
    return float(text) if text else None
