"""Messages to an owner's webhooks: a queue in Redis that the scripts fill, signed after Standard Webhooks.

A message is handed out for `LEASE_MS`, then again: whoever died with one loses nothing, and a receiver may get one
twice. It is kept until it was delivered or given up, or its model was deleted; one that expires is told of still.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from standardwebhooks import Webhook as Signer

from adapter.events import MAX_EVENTS, Outcome
from adapter.redis_store import MESSAGES, RedisStore, events_key

log = logging.getLogger("innerloop.webhooks")

LEASE_MS = 60_000
"""Longer than a delivery can take."""

RETRY_SECONDS = (5, 60, 300, 1800, 7200, 18_000, 36_000)
"""Between attempts: the last is 17 hours and 35 minutes after the first."""


@dataclass(frozen=True)
class Webhook:
    """Where a model's owner wants to be told, and what signs it."""

    url: str
    secret: str


@dataclass(frozen=True)
class Message:
    """Something that happened to a model, for one receiver. `problem` is JSON of why it failed, or empty."""

    id: str
    owner: str
    model: str
    version: int
    status: str
    at_ms: int
    problem: str
    url: str
    secret: str
    attempts: int

    @classmethod
    def read(cls, message_id: str, fields: Mapping[bytes, bytes]) -> Message:
        text = {key.decode(): value.decode() for key, value in fields.items()}
        numbers = {name: int(text.pop(name)) for name in ("version", "at_ms", "attempts")}
        return cls(id=message_id, **text, **numbers)  # pyright: ignore[reportArgumentType]

    @property
    def body(self) -> str:
        """The same at each attempt."""
        said = {
            "type": f"model.{self.status}",
            "timestamp": datetime.fromtimestamp(self.at_ms / 1000, UTC).isoformat().replace("+00:00", "Z"),
            "data": {
                "id": self.model,
                "object": "model",
                "version": self.version,
                "status": self.status,
                "error": json.loads(self.problem) if self.problem else None,
            },
        }
        return json.dumps(said, separators=(",", ":"))

    def headers(self, now: datetime) -> dict[str, str]:
        """Signed for this attempt (Standard Webhooks 1.0.0)."""
        return {
            "webhook-id": self.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Signer(self.secret).sign(self.id, now, self.body),
        }


@dataclass(frozen=True)
class Attempt:
    """How an attempt ended. `final`: another one is no use. `wait_seconds`: what the receiver asked for."""

    delivered: bool
    http_status: int | None = None
    detail: str = ""
    final: bool = False
    wait_seconds: float = 0


class Messages(RedisStore):
    """Hand out, note what became of it."""

    def due(self, most: int, share: int | None = None, under_way: Iterable[str] = ()) -> list[Message]:
        """Messages to be sent now, each to nobody else for `LEASE_MS`; one that cannot be read is dropped.

        `share` bounds what one receiver, a host and port, gets together with what is `under_way` (ids) to it. Of one
        owner no more is under way than places are left for others.
        """
        found: list[Message] = []
        for name in cast("list[bytes]", self.run("hand_out", [MESSAGES], [LEASE_MS, most, share or most, *under_way])):
            fields = cast("dict[bytes, bytes]", self.client.hgetall(f"{MESSAGES}:{name.decode()}"))
            try:
                if fields:
                    found.append(Message.read(name.decode(), fields))
                    continue
            except (KeyError, TypeError, ValueError) as error:
                log.warning("%s cannot be read and is dropped: %r", name.decode(), error)
                self.client.delete(f"{MESSAGES}:{name.decode()}")
            self.client.zrem(MESSAGES, name)
        return found

    def note(self, message: Message, attempt: Attempt, spread: float) -> Outcome | None:
        """Forget what is delivered or given up, put off the rest, and write it into the model's events.

        `spread`, from 0 to 1, lets retries of messages that failed together part. None where the message was handed
        out twice and the other attempt has been noted: of a message that is gone nothing comes back.
        """
        n = message.attempts + 1
        outcome: Outcome = "delivered" if attempt.delivered else "retrying"
        if not attempt.delivered and (attempt.final or n > len(RETRY_SECONDS)):
            outcome = "gave_up"
        wait_ms: int | str = ""
        if outcome == "retrying":
            wait = min(max(RETRY_SECONDS[n - 1], attempt.wait_seconds), RETRY_SECONDS[-1]) * (1 + 0.1 * spread)
            wait_ms = int(1000 * wait)
        fields: dict[str, str | int] = {
            "event": "webhook",
            "version": message.version,
            "message": message.id,
            "url": message.url,
            "outcome": outcome,
            "attempt": n,
            "http_status": attempt.http_status or "",
            "detail": attempt.detail,
        }
        noted = self.run(
            "note",
            [MESSAGES, f"{MESSAGES}:{message.id}", events_key(message.owner, message.model)],
            [message.id, message.attempts, wait_ms, MAX_EVENTS, *(part for pair in fields.items() for part in pair)],
        )
        return outcome if noted else None


def check_secret(secret: str) -> None:
    """Raises ValueError where a secret is not as Standard Webhooks writes them."""
    try:
        size = len(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
    except binascii.Error:
        size = 0
    if not secret.startswith("whsec_") or not 24 <= size <= 64:
        raise ValueError("a webhook secret is whsec_ and the base64 of 24 to 64 bytes")
