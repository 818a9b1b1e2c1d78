"""Limits and usage as JSON."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from adapter.keys import Key, Scope
from adapter.usage import Usage
from api.schemas import moment


class Allowance(BaseModel):
    """A limit and what is left of it; both null: no limit. `more_in_seconds`: until it grows again by itself."""

    limit: int | None
    remaining: int | None = None
    more_in_seconds: float | None = None

    @classmethod
    def of(cls, limit: int | None, used: int, more_in_seconds: float | None = None) -> Allowance:
        if limit is None:
            return cls(limit=None)
        return cls(limit=limit, remaining=max(0, limit - used), more_in_seconds=more_in_seconds)


class QuotaLeft(BaseModel):
    """Of the key that asks; what is stored counts all of its owner's models."""

    requests_per_minute: Allowance
    adaptations_per_day: Allowance = Field(description="Days are of UTC; a duplicate costs none.")
    stored_models: Allowance
    stored_bytes: Allowance = Field(description="Of support sets, all versions.")


class KeyCard(BaseModel):
    """The key that asks."""

    id: str = Field(examples=["key_2c426cf6d764"])
    owner: str
    name: str
    scopes: list[Scope]
    expires_at: datetime | None

    @classmethod
    def of(cls, key: Key) -> KeyCard:
        return cls(
            id=key.id,
            owner=key.owner,
            name=key.name,
            scopes=list(key.scopes),
            expires_at=None if key.expires_ms is None else moment(key.expires_ms),
        )


class ServerLimits(BaseModel):
    """Every cap of this server, each meta-model has its own besides; what is left of the key's quota, and its use."""

    max_body_bytes: int
    max_image_bytes: int
    max_image_pixels: int
    max_audio_bytes: int
    max_audio_seconds: float
    max_audio_channels: int
    max_text_characters: int
    max_vector_dimensions: int
    max_queries: int
    max_rows: int = Field(description="Of all `.npy` files of a form.")
    max_parts: int = Field(description="Files of a form, or of an archive.")
    max_archive_bytes: int = Field(description="Of an archive's files, unpacked.")
    max_wait_seconds: float
    max_ttl_seconds: int
    default_ttl_seconds: int
    max_label_length: int
    max_queued_jobs: int
    max_event_streams: int = Field(description="Of one owner, open at one API process.")
    key: KeyCard
    quota: QuotaLeft
    usage: list[Usage] = Field(description="Days on which the key was used, of the last 90, the newest first.")
