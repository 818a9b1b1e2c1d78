"""Memory of long-lived processes: freed, it is kept for the next step or job; never freed, it is not searched."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Generator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
"""Parameters of mallopt(3), from glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to reuse large blocks; false where there is none (musl, macOS).

    By default every activation of tens of megabytes is mapped, zeroed page by page and unmapped again in every step:
    `benchmarks.arithmetic` measures what that costs.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 * 2**20))
    return all(mallopt(parameter, value) for parameter, value in settings)


@contextmanager
def kept_for_good() -> Generator[None]:
    """What is imported and loaded in here stays: no collection looks through it, now, later or when the process ends.

    Of a worker's start collections are a sixth, and its end was one of a second.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
