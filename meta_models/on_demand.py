"""Meta-models opened when they are first asked for: most servers use few of those that are published.

What lies in a folder by then may be another than the one whose manifest was read: that is not opened under its name."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from meta_models.catalogue import Catalogue, Published
from meta_models.manifest import ManifestError, check_files

T = TypeVar("T")

log = logging.getLogger("innerloop.meta_models")


class OnDemand(Mapping[str, T]):
    """By `name@version`; what aliases name is opened at once, so that nobody waits for a default. Thread-safe."""

    def __init__(self, catalogue: Catalogue, load: Callable[[Published], T]) -> None:
        self._published = {p.manifest.reference: p for p in catalogue.versions}
        self._load, self._lock, self._loaded = load, threading.Lock(), dict[str, T]()
        for name in catalogue.aliases.values():
            published = catalogue.resolve(name)  # whose files were checked a moment ago
            self._loaded[published.manifest.reference] = load(published)

    def __getitem__(self, reference: str) -> T:
        with self._lock:
            if reference not in self._loaded:
                self._loaded[reference] = self._open(self._published[reference])
            return self._loaded[reference]

    def _open(self, published: Published) -> T:
        """Load it as it was when this process began.

        Raises:
            KeyError: its folder holds something else now; from here on it counts as one that is not published.
        """
        reference = published.manifest.reference
        try:
            check_files(published.folder, published.manifest)
        except ManifestError as error:
            log.error("%s was replaced under this process; restart it to serve what is there now: %s", reference, error)
            del self._published[reference]
            raise KeyError(reference) from error
        return self._load(published)

    def __contains__(self, reference: object) -> bool:
        return reference in self._published

    def __iter__(self) -> Iterator[str]:
        return iter(self._published)

    def __len__(self) -> int:
        return len(self._published)
