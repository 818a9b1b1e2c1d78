"""Keeps the lease of the job in hand, for as long as the job takes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from adapter.jobs import Claim, Jobs

log = logging.getLogger("innerloop.worker")


@dataclass
class _Held:
    claim: Claim
    lost: bool = False


class LeaseKeeper:
    """Renews from one thread, started once: to start one for each job takes 1 to 3 ms, longer than many a job.

    Args:
        jobs: where the leases are.
        seconds: a lease's length; it is renewed three times in that time.
    """

    def __init__(self, jobs: Jobs, seconds: float) -> None:
        self._jobs, self._pause = jobs, seconds / 3
        self._held: _Held | None = None
        threading.Thread(target=self._renew, name="lease", daemon=True).start()

    @contextmanager
    def hold(self, claim: Claim) -> Generator[Callable[[], bool]]:
        """Renew this claim's lease until the context ends; yields whether the job is still ours."""
        held = self._held = _Held(claim)
        try:
            yield lambda: not held.lost
        finally:
            self._held = None

    def _renew(self) -> None:
        while True:
            time.sleep(self._pause)
            # A job that ends while its lease is being renewed took its token along: the script changes nothing.
            held = self._held
            if held is None or held.lost:
                continue
            try:
                held.lost = not self._jobs.extend(held.claim)
            except Exception as error:  # whatever it is, later jobs need this thread
                log.warning("%s: could not renew the lease: %r", held.claim.job, error)
