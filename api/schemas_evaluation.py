"""Labelled queries and what a model makes of them, as JSON."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import ItemError
from api.schemas_quality import Interval
from api.schemas_requests import MAX_ITEMS, PNG, In, SupportExample

_HALF: dict[str, Any] = {"n": 50, "recall": 0.96, "ci95": [0.87, 0.99], "precision": 0.96, "f1": 0.96}
EXAMPLE: dict[str, Any] = {
    "object": "evaluation",
    "model": "mdl_2f6d0c3e9f0b4d7c8a55f3e1c9b7a6d4",
    "version": 1,
    "n": 100,
    "accuracy": 0.96,
    "ci95": [0.9, 0.98],
    "rejected": 3,
    "per_class": [
        {"name": "ga", **_HALF, "mistaken_for": "ka"},
        {"name": "ka", **_HALF, "mistaken_for": "ga"},
    ],
    "confusion_matrix": {"labels": ["ga", "ka"], "counts": [[48, 2], [2, 48]]},
    "calibration": {
        "expected_calibration_error": 0.02,
        "bins": [{"low": 0.93, "high": 1.0, "n": 100, "confidence": 0.98, "accuracy": 0.96}],
    },
    "unreadable": [
        {"index": 7, "error": {"code": "undecodable_image", "status": 422, "detail": "the image is damaged"}}
    ],
}
"""What the OpenAPI document shows."""


class EvaluateRequest(In):
    """Queries whose label is known; the model has not seen them."""

    queries: list[SupportExample] = Field(max_length=MAX_ITEMS, json_schema_extra={"minItems": 1})

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"queries": [{"label": "ka", "input": {"image": PNG}}]}]}
    )


class ClassReport(BaseModel):
    """One class: `recall` of its own queries, `precision` of the queries given to it."""

    name: str
    n: int
    recall: float | None = Field(description="Share of its queries given to it; null without queries.")
    ci95: Interval | None = Field(description="Wilson interval of the recall.")
    precision: float | None = Field(description="Share of the queries given to it that are its own; null without any.")
    f1: float | None
    mistaken_for: str | None


class ConfusionMatrix(BaseModel):
    """`counts[i][j]`: queries of class `labels[i]` given class `labels[j]`."""

    labels: list[str]
    counts: list[list[int]]


class CalibrationBin(BaseModel):
    """Queries whose confidence lies between `low` and `high`."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


class CalibrationReport(BaseModel):
    """Whether a confidence of 0.9 is right nine times in ten."""

    expected_calibration_error: float
    bins: list[CalibrationBin] = Field(description="Without the empty ones.")


class UnreadableQuery(BaseModel):
    index: int
    error: ItemError


class Evaluation(BaseModel):
    """Each query answered by its support set and itself alone; a rejected one counts by its best guess."""

    object: Literal["evaluation"] = "evaluation"
    model: str
    version: int
    n: int = Field(description="Queries that could be read.")
    accuracy: float | None
    ci95: Interval | None = Field(description="Wilson interval.")
    rejected: int = Field(description="Queries found unlike every class.")
    per_class: list[ClassReport]
    confusion_matrix: ConfusionMatrix
    calibration: CalibrationReport | None
    unreadable: list[UnreadableQuery]

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
