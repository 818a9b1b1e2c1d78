"""Adapted tensors by content: a cache, in a store of their own. What is gone is adapted again."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

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

    def get(self, owner: str, digest: str) -> Arrays | None:
        """The tensors, or None where they were evicted."""
        data = cast("bytes | None", self.client.get(_weights(owner, digest)))
        return safetensors.numpy.load(data) if data is not None else None

    def put(self, owner: str, digest: str, tensors: Arrays, ttl_ms: int) -> None:
        """Store until evicted, at most for `ttl_ms`."""
        self.client.set(_weights(owner, digest), safetensors.numpy.save(tensors), px=ttl_ms)

    def exists(self, owner: str, digest: str) -> bool:
        return bool(self.client.exists(_weights(owner, digest)))

    def delete(self, owner: str, digests: Iterable[str]) -> None:
        self.client.delete(*(_weights(owner, digest) for digest in digests))


def _weights(owner: str, digest: str) -> str:
    return f"il:{owner}:weights:{digest}"
