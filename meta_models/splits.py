"""Classes in three parts, and how the last of them are drawn."""

from __future__ import annotations

from dataclasses import dataclass

from meta_models.datasets import ClassPool

Pools = tuple[ClassPool, ...]
"""Where episodes come from, each from one pool: pools may hold inputs of different kinds."""


@dataclass(frozen=True)
class Protocol:
    """How test classes are drawn: from `pool`, with probability `within_group` all from one group."""

    name: str
    pool: ClassPool
    within_group: float


@dataclass(frozen=True)
class Splits:
    """Classes to learn from, to choose by, and to report; they share no class."""

    train: Pools
    development: Pools
    test: tuple[Protocol, ...]

    @property
    def n_classes(self) -> tuple[int, int, int]:
        """Of the three parts; protocols that turn the same classes count them again."""
        parts = (self.train, self.development, tuple(protocol.pool for protocol in self.test))
        train, development, test = (sum(pool.n_classes for pool in part) for part in parts)
        return train, development, test
