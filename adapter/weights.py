"""Adapted tensors by content: a cache, in a store of their own. What is gone is adapted again."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import cast

import numpy as np
import redis
import safetensors.numpy
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]


class Weights:
    """Adapted tensors by content: safetensors, evictable."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def get(self, owner: str, digest: str, files: str) -> Arrays | None:
        """The tensors, or None where they were evicted, or adapted with other files of the meta-model than `files`
        (`Manifest.files_digest`): graphs of one and tensors of another would answer, and wrongly."""
        data = cast("bytes | None", self.client.get(_weights(owner, digest)))
        return safetensors.numpy.load(data) if data is not None and _files(data) in (None, files) else None

    def has(self, owner: str, digest: str) -> bool:
        """Whether they were not evicted."""
        return bool(self.client.exists(_weights(owner, digest)))

    def put(self, owner: str, digest: str, tensors: Arrays, ttl_ms: int, files: str) -> None:
        """Store until evicted, at most for `ttl_ms`."""
        self.client.set(_weights(owner, digest), safetensors.numpy.save(tensors, {"files": files}), px=ttl_ms)

    def keep_for(self, owner: str, digests: Iterable[str], seconds: int) -> None:
        """From now on store at most for so long what was not evicted."""
        with self.client.pipeline(transaction=False) as together:
            for digest in digests:
                together.expire(_weights(owner, digest), seconds)
            together.execute()

    def delete(self, owner: str, digests: Iterable[str]) -> None:
        self.client.delete(*(_weights(owner, digest) for digest in digests))


def _files(data: bytes) -> str | None:
    """What the tensors were adapted with; None where they were stored before that was noted."""
    header_size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + header_size]).get("__metadata__", {}).get("files")


def _weights(owner: str, digest: str) -> str:
    return f"il:{owner}:weights:{digest}"
