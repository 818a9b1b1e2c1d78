"""Heals what was lost between two steps: jobs without a nudge, leases of workers that died."""

from __future__ import annotations

import logging
import threading

from adapter.queue import Publisher
from adapter.store import Records

log = logging.getLogger("innerloop.reaper")

PERIOD_SECONDS = 1.0


def reap(records: Records, publisher: Publisher) -> int:
    """Nudge open jobs that nobody works on, where no nudge waits; returns how many."""
    jobs = records.due_jobs()
    for job in jobs:
        publisher.nudge(job)
    return len(jobs)


class Reaper:
    """Runs `reap` every second in a thread; among all processes one at a time does."""

    def __init__(self, records: Records, publisher: Publisher) -> None:
        self._records, self._publisher = records, publisher
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reaper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_SECONDS):
            try:
                if self._records.lock("reaper", 0.8 * PERIOD_SECONDS) and (n := reap(self._records, self._publisher)):
                    log.info("nudged %d open jobs", n)
            except Exception as error:  # whatever it is, open jobs need this thread
                log.warning("reaper: open jobs could not be looked at: %r", error)
