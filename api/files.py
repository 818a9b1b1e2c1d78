"""How many files, connections among them, this process may have open."""

from __future__ import annotations

import resource
from contextlib import suppress

MOST_FILES = 65_536
"""More than are ever open, and less than any system refuses."""


def allow_files() -> None:
    """As many as the system lets a process have: the usual 1024 are for programs that still ask by `select`, which
    counts no further; none of ours does, and those started from here are given the same."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # then it stays as it is
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def files_allowed() -> int:
    """How many it may have."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST_FILES if soft == resource.RLIM_INFINITY else soft
