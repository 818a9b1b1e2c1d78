"""Where people read: one rich console for results, one for progress and errors."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

import typer
from rich.console import Console

out = Console()
err = Console(stderr=True)


def fail(message: str) -> typer.Exit:
    """Print an error the way every command does; raise what it returns."""
    err.print(f"[bold red]error[/] {message}", highlight=False)
    return typer.Exit(1)


@contextmanager
def friendly(*expected: type[Exception]) -> Generator[None]:
    """Turn expected errors into one line and exit code 1."""
    try:
        yield
    except expected as error:
        raise fail(str(error)) from error


class Throttle:
    """True at most once in so many seconds: what a log gets of a progress bar."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._next = seconds, 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True
