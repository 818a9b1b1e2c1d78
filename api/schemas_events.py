"""Events as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from adapter.events import Event
from adapter.models import Status
from api.schemas import moment


class ModelEvent(BaseModel):
    """`status` events have `status`; `step` events have `step` and, where it is finite, `support_loss`."""

    id: str = Field(examples=["1718000000000-0"], description="Send the last one as `Last-Event-ID` to go on after it.")
    event: Literal["status", "step"]
    version: int
    at: datetime
    status: Status | None = None
    step: int | None = Field(default=None, description="Number of the inner step, from 0.")
    support_loss: float | None = Field(default=None, description="Loss of the support set before that step.")

    @classmethod
    def of(cls, event: Event) -> ModelEvent:
        return cls(
            id=event.id,
            event=event.event,
            version=event.version,
            at=moment(event.at_ms),
            status=event.status,
            step=event.step,
            support_loss=event.support_loss,
        )


class EventList(BaseModel):
    """Everything kept, oldest first."""

    data: list[ModelEvent]
