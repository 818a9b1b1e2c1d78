"""Events as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from adapter.events import Delivery, Event
from adapter.keys import Key
from adapter.models import Status
from api.schemas import moment


class WebhookAttempt(BaseModel):
    """An attempt at a webhook."""

    message: str = Field(description="`webhook-id` of the message.")
    url: str = Field(description="To a key without scope `adapt` no more than scheme, host and port.")
    outcome: Literal["delivered", "retrying", "gave_up"]
    attempt: int
    http_status: int | None = None
    detail: str | None = None

    @classmethod
    def of(cls, delivery: Delivery, *, in_full: bool) -> WebhookAttempt:
        url = urlsplit(delivery.url)
        return cls(
            message=delivery.message,
            # Whoever knows the rest of it may be able to post there.
            url=delivery.url if in_full else f"{url.scheme}://{url.netloc}",
            outcome=delivery.outcome,
            attempt=delivery.attempt,
            http_status=delivery.http_status,
            detail=delivery.detail or None,
        )


class ModelEvent(BaseModel):
    """`status` events have `status`; `step` events have `step` and, where it is finite, `support_loss`.

    `webhook` events have `webhook`; most come after a stream has ended: list them.
    """

    id: str = Field(examples=["1718000000000-0"], description="Send the last one as `Last-Event-ID` to go on after it.")
    event: Literal["status", "step", "webhook"]
    version: int
    at: datetime = Field(description="When it was written; a step, up to a second later.")
    status: Status | None = None
    step: int | None = Field(default=None, description="Number of the inner step, from 0.")
    support_loss: float | None = Field(default=None, description="Loss of the support set before that step.")
    webhook: WebhookAttempt | None = None

    @classmethod
    def of(cls, event: Event, who: Key) -> ModelEvent:
        return cls(
            id=event.id,
            event=event.event,
            version=event.version,
            at=moment(event.at_ms),
            status=event.status,
            step=event.step,
            support_loss=event.support_loss,
            webhook=WebhookAttempt.of(event.delivery, in_full=who.allows("adapt")) if event.delivery else None,
        )


class EventList(BaseModel):
    """Everything kept, oldest first."""

    data: list[ModelEvent]
