"""Who asks: the owner behind a bearer key, or `local` where no keys are set."""

from __future__ import annotations

import hashlib
import hmac
import re

from fastapi import Request

from adapter.config import Settings
from adapter.errors import Unauthorized

LOCAL = "local"
_OWNER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class Keys:
    """Owners by the sha256 of their key; keys themselves are stored nowhere."""

    def __init__(self, settings: Settings) -> None:
        """Reads `INNERLOOP_API_KEYS`.

        Raises:
            ValueError: an entry is not `owner:sha256`, or a public address would be served without keys.
        """
        self._owners: list[tuple[str, str]] = []
        for entry in filter(None, (part.strip() for part in settings.api_keys.split(","))):
            owner, _, digest = entry.partition(":")
            if not _OWNER.fullmatch(owner) or not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise ValueError(f"INNERLOOP_API_KEYS: {entry!r} is not owner:sha256-of-key (64 hex digits)")
            self._owners.append((owner, digest))
        if not self._owners and settings.host not in _LOOPBACK:
            raise ValueError(
                f"refusing to serve {settings.host} without API keys; set INNERLOOP_API_KEYS=owner:sha256-of-key, "
                "or serve 127.0.0.1"
            )

    def owner(self, request: Request) -> str:
        """The owner whose key the request carries.

        Raises:
            Unauthorized: no key, or not one of ours.
        """
        if not self._owners:
            return LOCAL
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Unauthorized("send Authorization: Bearer <key>")
        digest = hashlib.sha256(key.strip().encode()).hexdigest()
        # Every entry is compared, each in constant time.
        matches = [owner for owner, known in self._owners if hmac.compare_digest(digest, known)]
        if not matches:
            raise Unauthorized("this API key is not known")
        return matches[0]
