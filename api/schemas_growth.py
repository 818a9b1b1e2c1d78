"""Versions, examples and classes as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from adapter.models import Adaptation, ClassCount, ModelRecord, OriginKind, Status
from api.schemas import ModelError, Timings, model_error, moment, timings, worded_quality
from api.schemas_quality import ExamplesComparison, ModelQuality
from api.schemas_requests import MAX_ITEMS, PNG, In, SupportExample


class ExamplesRequest(In):
    """Examples to add; a label that the model does not have is a new class."""

    examples: list[SupportExample] = Field(max_length=MAX_ITEMS, json_schema_extra={"minItems": 1})

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"examples": [{"label": "na", "input": {"image": PNG}}]}]}
    )


class ClassPatch(In):
    """A new name; nothing is adapted."""

    name: str = Field(examples=["ka, cursive"])

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "ka, cursive"}]})


class VersionChange(BaseModel):
    """What made this version from another."""

    kind: OriginKind
    base: int = Field(description="The version it was made from.")
    added: int = Field(description="Examples added.")
    removed: int = Field(description="Examples removed.")
    old_examples: ExamplesComparison | None = Field(
        default=None, description="How the examples that stayed fare; null until both versions are measured."
    )


class Version(BaseModel):
    """One support set of a model and what was adapted to it; never changes once it is ready."""

    object: Literal["version"] = "version"
    model: str = Field(examples=["mdl_2f6d0c3e9f0b4d7c8a55f3e1c9b7a6d4"])
    version: int
    status: Status
    stable: bool
    digest: str
    classes: list[ClassCount]
    adaptation: Adaptation
    change: VersionChange | None = Field(description="null for the first.")
    quality: ModelQuality | None
    timings_ms: Timings
    created_at: datetime
    error: ModelError | None

    @classmethod
    def of(cls, record: ModelRecord, compared: ExamplesComparison | None = None) -> Version:
        spec, origin = record.spec, record.spec.origin
        return cls(
            model=record.id,
            version=record.version,
            status=record.status,
            stable=record.version == record.head.stable,
            digest=spec.digest,
            classes=sorted(spec.classes, key=lambda c: c.name),
            adaptation=spec.adaptation,
            change=VersionChange(**origin.model_dump(), old_examples=compared) if origin else None,
            quality=worded_quality(record),
            timings_ms=timings(record),
            created_at=moment(record.created_ms),
            error=model_error(record),
        )


class VersionList(BaseModel):
    """Newest first; pass `next_cursor` as `after` for the next page."""

    data: list[Version]
    has_more: bool
    next_cursor: str | None


class Example(BaseModel):
    """A support example; of its input is kept what the meta-model sees, and `preview` shows that."""

    id: str = Field(description="Names its content.", examples=["ex_9f86d081884c7d659a2feaa0c55ad015"])
    object: Literal["example"] = "example"
    label: str
    source: str = Field(description="Where it stood in the request that brought it.", examples=["/support/3/input"])
    preview: str = Field(
        description="Path of what the meta-model sees of it.",
        examples=[
            "/v1/models/mdl_2f6d0c3e9f0b4d7c8a55f3e1c9b7a6d4/examples/ex_9f86d081884c7d659a2feaa0c55ad015/preview?version=1"
        ],
    )

    @classmethod
    def of(cls, record: ModelRecord, name: str, label: str, source: str) -> Example:
        preview = f"/v1/models/{record.id}/examples/{name}/preview?version={record.version}"
        return cls(id=name, label=label, source=source, preview=preview)


class ExampleList(BaseModel):
    """By class; pass `next_cursor` as `after` for the next page."""

    version: int
    data: list[Example]
    has_more: bool
    next_cursor: str | None
