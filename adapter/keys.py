"""API keys: who may do what, and how much. Kept in the records store, by their hash.

il:keys          hash    id to the key's record
il:keys:changes  string  another number after every change: whoever holds a copy compares it
il:keys:used     hash    id to the time of its last use
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

import redis
from pydantic import BaseModel, ConfigDict, field_validator

from adapter.config import entries
from adapter.redis_store import now_ms

Scope = Literal["predict", "adapt", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

KEYS, CHANGES, USED = "il:keys", "il:keys:changes", "il:keys:used"

RESERVED = {"deleted", "keys", "lock", "rate", "webhooks", "worker"}
"""Redis keys with these names are the service's own."""

LAST_MS = 253_402_300_799_000
"""The end of the year 9999, after which no date can be written."""

_OWNER = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Quota(BaseModel):
    """What a key may use; None: as much as the server has. These defaults stop accidents, not honest work.

    `stored_models` and `stored_bytes` (of support sets) count all that the key's owner has.
    """

    model_config = ConfigDict(frozen=True)

    requests_per_minute: int | None = 6000
    adaptations_per_day: int | None = 10_000
    stored_models: int | None = 10_000
    stored_bytes: int | None = 2**30


UNLIMITED = Quota(requests_per_minute=None, adaptations_per_day=None, stored_models=None, stored_bytes=None)


class Key(BaseModel):
    """A key without the key: `sha256` is of the text that its holder sends. Times in milliseconds.

    `webhook_secret` signs its webhooks, so it is kept as it is.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    owner: str
    name: str = ""
    scopes: tuple[Scope, ...] = SCOPES
    quota: Quota = UNLIMITED
    sha256: str = ""
    webhook_secret: str | None = None
    created_ms: int = 0
    expires_ms: int | None = None
    revoked_ms: int | None = None

    @field_validator("expires_ms")
    @classmethod
    def _can_be_written(cls, ms: int | None) -> int | None:
        return None if ms is None else min(ms, LAST_MS)

    def allows(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    def is_valid(self, at_ms: int) -> bool:
        return self.revoked_ms is None and (self.expires_ms is None or at_ms < self.expires_ms)

    def opens_with(self, text: str) -> bool:
        """Whether `text` is this key; takes the same time for every wrong one."""
        return hmac.compare_digest(_sha256(text), self.sha256)


LOCAL = Key(id="local", owner="local")
"""Who asks where no keys are wanted."""


@dataclass(frozen=True)
class KeyCopy:
    """All keys by id, as they were after the change of that number."""

    changes: int
    keys: Mapping[str, Key]

    def find(self, text: str) -> Key | None:
        """The key that is this text, valid or not."""
        key = self.keys.get("key_" + text.removeprefix("il_").partition("_")[0])
        return key if key is not None and key.opens_with(text) else None


class KeyStore:
    """Create, read, revoke."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def create(
        self,
        owner: str,
        *,
        name: str = "",
        scopes: tuple[Scope, ...] = ("predict", "adapt"),
        quota: Quota | None = None,
        ttl_seconds: int | None = None,
    ) -> tuple[Key, str]:
        """A new key's record and its text, which is stored nowhere.

        Raises:
            ValueError: `owner` has other characters than letters, digits, - and _, or too many.
        """
        check_owner(owner)
        public, made = secrets.token_hex(6), now_ms()
        text = f"il_{public}_{secrets.token_urlsafe(32)}"
        key = Key(
            id=f"key_{public}",
            owner=owner,
            name=name,
            scopes=scopes,
            quota=quota or Quota(),
            # Without salt or stretching: nobody guesses 256 random bits.
            sha256=_sha256(text),
            webhook_secret="whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
            created_ms=made,
            expires_ms=None if ttl_seconds is None else made + 1000 * ttl_seconds,
        )
        self._write(key)
        return key, text

    def revoke(self, key_id: str) -> Key:
        """End a key. Its record stays, so that a server does not open up with its last key.

        Raises:
            KeyError: there is no such key.
        """
        key = self.get(key_id)
        if key.revoked_ms is None:
            key = key.model_copy(update={"revoked_ms": now_ms()})
            self._write(key)
        return key

    def get(self, key_id: str) -> Key:
        """One key.

        Raises:
            KeyError: there is none.
        """
        found = cast("bytes | None", self.client.hget(KEYS, key_id))
        if found is None:
            raise KeyError(f"no key {key_id!r}; `innerloop keys list` shows them")
        return Key.model_validate_json(found)

    def changes(self) -> int:
        """The number of the last change; 0 where there was none."""
        return int(cast("bytes | None", self.client.get(CHANGES)) or 0)

    def copy(self) -> KeyCopy:
        """All keys. What changes while they are read is seen with the next change."""
        changes = self.changes()
        found = cast("dict[bytes, bytes]", self.client.hgetall(KEYS))
        return KeyCopy(changes, {i.decode(): Key.model_validate_json(record) for i, record in found.items()})

    def last_used(self) -> dict[str, int]:
        """Key id to the time of its last use, in milliseconds."""
        found = cast("dict[bytes, bytes]", self.client.hgetall(USED))
        return {i.decode(): int(at) for i, at in found.items()}

    def _write(self, key: Key) -> None:
        with self.client.pipeline(transaction=True) as both:
            both.hset(KEYS, key.id, key.model_dump_json())
            # No count: a Redis that lost the latest change would come to the same one by another.
            both.set(CHANGES, secrets.randbits(48))
            both.execute()


def keys_of_settings(text: str) -> list[Key]:
    """The keys of `INNERLOOP_API_KEYS`: all scopes, no quota.

    Raises:
        ValueError: an entry is not `owner:sha256`.
    """
    found: list[Key] = []
    for number, entry in enumerate(entries(text), start=1):
        owner, _, digest = entry.partition(":")
        if not _OWNER.fullmatch(owner) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            # The entry is not shown: it may be a key that somebody forgot to hash.
            raise ValueError(f"INNERLOOP_API_KEYS: entry {number} is not owner:sha256-of-key (64 hex digits)")
        found.append(Key(id=f"env_{digest[:12]}", owner=owner, name="INNERLOOP_API_KEYS", sha256=digest))
    return found


def check_owner(owner: str) -> None:
    """Raises ValueError where `owner` would not fit into a Redis key, or into another one's."""
    if owner in RESERVED:
        raise ValueError(f"an owner cannot be called {owner!r}; choose another name")
    if not _OWNER.fullmatch(owner):
        raise ValueError(f"an owner is 1 to 64 letters, digits, - or _, not {owner!r}")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
