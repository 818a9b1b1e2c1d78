"""What happened to a model, as a capped Redis stream: status changes by the scripts, inner steps by the worker,
attempts at its webhooks by the API processes."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from adapter.errors import Unprocessable
from adapter.models import Status
from adapter.redis_store import RedisStore, events_key

MAX_EVENTS = 1000
"""A stream keeps about as many; the oldest go first."""

TELL_SECONDS = 1.0
"""How long a step may wait for its event, but for the time that the next one takes."""

Entry = tuple[bytes, dict[bytes, bytes]]

Outcome = Literal["delivered", "retrying", "gave_up"]

EVENT_ID = r"[0-9]{1,19}(-[0-9]{1,19})?"


@dataclass(frozen=True)
class Delivery:
    """An attempt at a webhook, the `attempt`-th at this message, from 1."""

    message: str
    url: str
    outcome: Outcome
    attempt: int
    http_status: int | None
    detail: str

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> Delivery:
        status = fields["http_status"]
        return cls(
            message=fields["message"],
            url=fields["url"],
            outcome=fields["outcome"],  # pyright: ignore[reportArgumentType]
            attempt=int(fields["attempt"]),
            http_status=int(status) if status else None,
            detail=fields["detail"],
        )


@dataclass(frozen=True)
class Event:
    """One entry of a model's stream.

    Attributes:
        id: grows with time; where a reader that was cut off goes on.
        event: `status` has `status`; `step` has `step` and `support_loss`, the loss before that inner step; `webhook`
            has `delivery`.
    """

    id: str
    event: Literal["status", "step", "webhook"]
    version: int
    status: Status | None
    step: int | None
    support_loss: float | None
    delivery: Delivery | None

    @property
    def at_ms(self) -> int:
        return int(self.id.partition("-")[0])

    @classmethod
    def read(cls, entry: Entry) -> Event:
        """From a stream entry; a loss that is not finite is None."""
        fields: Mapping[str, str] = {key.decode(): value.decode() for key, value in entry[1].items()}
        loss = float(fields.get("support_loss", "nan"))
        return cls(
            id=entry[0].decode(),
            event=fields["event"],  # pyright: ignore[reportArgumentType]
            version=int(fields["version"]),
            status=fields.get("status"),  # pyright: ignore[reportArgumentType]
            step=int(fields["step"]) if "step" in fields else None,
            support_loss=loss if math.isfinite(loss) else None,
            delivery=Delivery.read(fields) if fields["event"] == "webhook" else None,
        )


class Steps:
    """Inner steps that no event tells of yet. Each would wait for Redis longer than some steps take, so several are
    told at once, and the last ones by the script that ends the job."""

    def __init__(self) -> None:
        self._untold: list[tuple[int, str]] = []
        self._told = time.monotonic()

    def add(self, step: int, support_loss: float) -> bool:
        """Remember a step; returns whether it is time to tell what there is."""
        self._untold.append((step, f"{support_loss:.6g}"))
        return time.monotonic() - self._told >= TELL_SECONDS

    def take(self) -> list[tuple[int, str]]:
        """(step, support loss) of each, oldest first: whoever takes them tells them."""
        taken, self._untold, self._told = self._untold, [], time.monotonic()
        return taken


class Events(RedisStore):
    """Write and read a model's stream."""

    def tell_steps(self, owner: str, record_id: str, steps: Sequence[tuple[int, str]]) -> None:
        """Append inner steps and their support losses; nothing where the model is gone."""
        version = int(record_id.partition(".")[2] or 1)
        with self.client.pipeline(transaction=False) as together:
            for step, support_loss in steps:
                fields = {"event": "step", "version": version, "step": step, "support_loss": support_loss}
                together.xadd(events_key(owner, record_id), fields, maxlen=MAX_EVENTS, nomkstream=True)  # pyright: ignore[reportArgumentType]
            together.execute()

    def events(self, owner: str, model_id: str, after: str | None = None) -> list[Event]:
        """Everything kept, oldest first, after the event with id `after`.

        Raises:
            Unprocessable: `after` is no id of an event.
        """
        start = f"({check_event_id(after)}" if after else "-"
        return [Event.read(e) for e in cast("list[Entry]", self.client.xrange(events_key(owner, model_id), start))]


def check_event_id(text: str) -> str:
    """The id as Redis takes it.

    Raises:
        Unprocessable: it is none.
    """
    if not re.fullmatch(EVENT_ID, text):
        raise Unprocessable(f"{text!r} is not the id of an event; send the last `id` received", pointer="Last-Event-ID")
    return text
