"""Meta-models opened when they are first asked for: most servers use few of those that are published."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from meta_models.catalogue import Catalogue, Published

T = TypeVar("T")


class OnDemand(Mapping[str, T]):
    """By `name@version`; what aliases name is opened at once, so that nobody waits for a default. Thread-safe."""

    def __init__(self, catalogue: Catalogue, load: Callable[[Published], T]) -> None:
        self._published = {p.manifest.reference: p for p in catalogue}
        self._load, self._lock, self._loaded = load, threading.Lock(), dict[str, T]()
        for name in catalogue.aliases.values():
            self[catalogue.resolve(name).manifest.reference]

    def __getitem__(self, reference: str) -> T:
        with self._lock:
            if reference not in self._loaded:
                self._loaded[reference] = self._load(self._published[reference])
            return self._loaded[reference]

    def __contains__(self, reference: object) -> bool:
        return reference in self._published

    def __iter__(self) -> Iterator[str]:
        return iter(self._published)

    def __len__(self) -> int:
        return len(self._published)
