"""Accuracy of a model and how a change moved it, as JSON."""

from __future__ import annotations

from pydantic import BaseModel, Field

from adapter.quality import Method

Interval = tuple[float, float]


class ClassQuality(BaseModel):
    """How often the held-out examples of a class were given it."""

    name: str = Field(examples=["ka"])
    examples: int
    n: int = Field(description="Examples that could be held out; the only one of a class cannot.")
    accuracy: float | None
    ci95: Interval | None
    mistaken_for: str | None = Field(description="The class its examples were given instead, most often.")


class SuspiciousExample(BaseModel):
    """An example that looks like another class: perhaps its label is wrong."""

    example: str = Field(description="Its id in `/examples`.", examples=["ex_9f86d081884c7d659a2feaa0c55ad015"])
    source: str = Field(description="Where it stood in the request that brought it.", examples=["/support/3/input"])
    label: str
    looks_like: str
    probability: float


class ModelQuality(BaseModel):
    """Accuracy on the support set itself, each example held out when it was asked; no new data was needed."""

    method: Method = Field(examples=["leave_one_out"])
    folds: int | None = Field(
        examples=[None], description="Parts of the support set that were held out in turn; null: one at a time."
    )
    n: int = Field(examples=[25])
    accuracy: float | None = Field(description="null where no class has a second example.", examples=[0.96])
    ci95: Interval | None = Field(description="Wilson interval.", examples=[[0.8, 0.99]])
    calibration_error: float | None = Field(examples=[0.03], description="Expected calibration error, 15 bins.")
    per_class: list[ClassQuality]
    suspicious: list[SuspiciousExample]
    warnings: list[str] = Field(description="Advice in words.", examples=[["class 'bug' has 2 examples; add 3"]])


class ClassChange(BaseModel):
    name: str
    n: int
    before: float
    after: float


class ExamplesComparison(BaseModel):
    """The same old examples, each held out, before and after the change."""

    n: int
    before: float
    after: float
    difference: float = Field(description="after - before")
    ci95: Interval = Field(description="Of the difference (paired; Agresti & Min 2005).")
    verdict: str = Field(examples=["the old classes are as good as before, within chance"])
    per_class: list[ClassChange]
