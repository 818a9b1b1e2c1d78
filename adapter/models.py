"""What is stored of an adapted model, apart from its weights and its support set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

Status = Literal["queued", "adapting", "ready", "failed", "canceled", "expired"]


class ClassCount(BaseModel):
    """A class and how many support examples it has."""

    model_config = ConfigDict(frozen=True)

    name: str
    examples: int


class Adaptation(BaseModel):
    """Inner-loop settings in force; both null where the meta-model takes no steps."""

    model_config = ConfigDict(frozen=True)

    inner_steps: int | None = None
    inner_lr: float | None = None


class ModelSpec(BaseModel):
    """The part of a record that never changes.

    `classes` are in canonical order, the order of the adapted tensors; `weights` names those tensors.
    """

    model_config = ConfigDict(frozen=True)

    meta_model: str
    modality: str
    classes: tuple[ClassCount, ...]
    adaptation: Adaptation
    digest: str
    weights: str
    ephemeral: bool = False

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
class ModelRecord:
    """A model as Redis holds it now. Times are Redis time, in milliseconds."""

    id: str
    owner: str
    name: str | None
    spec: ModelSpec
    status: Status
    job: str
    created_ms: int
    expires_ms: int
    queue_ms: float | None
    adapt_ms: float | None
    total_ms: float | None
    error: JobError | None

    @classmethod
    def read(cls, owner: str, fields: Mapping[bytes, bytes], now_ms: int) -> ModelRecord:
        """From the fields of a record hash."""
        text = {key.decode(): value.decode() for key, value in fields.items()}
        expired = int(text["expires_ms"]) <= now_ms
        total, adapt = _number(text.get("total_ms")), _number(text.get("adapt_ms"))
        return cls(
            id=text["id"],
            owner=owner,
            name=text.get("name") or None,
            spec=ModelSpec.model_validate_json(text["spec"]),
            status="expired" if expired else text["status"],  # pyright: ignore[reportArgumentType]
            job=text.get("job", ""),
            created_ms=int(text["created_ms"]),
            expires_ms=int(text["expires_ms"]),
            queue_ms=_number(text.get("queue_ms")),
            adapt_ms=adapt,
            total_ms=total,
            error=_JOB_ERROR.validate_json(text["job_error"]) if text.get("job_error") else None,
        )


def _number(text: str | None) -> float | None:
    return float(text) if text else None
