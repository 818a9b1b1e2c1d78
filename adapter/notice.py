"""The notice that a worker gets before it is ended: all its processes know of it, and when it is over; and what its
processes let it know, that one of them cannot adapt."""

from __future__ import annotations

import math
import mmap
import time

FINISH_SECONDS = 5.0
"""So long a job in hand may go on. Whoever stops a worker ends it by force some time later: `innerloop serve` after ten
seconds, Compose after thirty."""


class Notice:
    """Made before a worker forks: it lies in memory that parent and children share, since only the parent is told."""

    def __init__(self) -> None:
        self._shared = memoryview(mmap.mmap(-1, 16)).cast("d")
        self._shared[0] = math.inf

    def give(self, **_: object) -> None:
        """Of several the first counts. A receiver of Celery's signal `worker_shutting_down`."""
        self._shared[0] = min(self._shared[0], time.monotonic() + FINISH_SECONDS)

    @property
    def is_over(self) -> bool:
        """Whether a job in hand should be given back: who takes it begins anew, and no attempt at it is counted."""
        return time.monotonic() > self._shared[0]

    def fail(self) -> None:
        """A process cannot adapt, and neither can another that would be started in its place."""
        self._shared[1] = 1.0

    @property
    def failed(self) -> bool:
        return self._shared[1] != 0.0
