"""How many threads arithmetic takes beside other work."""

from __future__ import annotations

import os


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def all_but_one(processes: int = 1) -> int:
    """Threads of each of `processes` that adapt or measure on this machine, one core left free.

    With a thread on every core, one that has to wait for somebody else holds up the others, and a step takes many times
    as long.
    """
    return max(1, (cores() - 1) // processes)
