"""Where people read: one rich console for results, one for progress and errors. Exit codes live here."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from typing import Annotated, Any

import typer
from rich.console import Console

from innerloop.client.errors import InnerloopHTTPError, Overloaded, ServerUnreachable

out = Console()
err = Console(stderr=True)


_wants_json: ContextVar[bool] = ContextVar("wants_json", default=False)


def _remember(wanted: bool) -> bool:
    """Errors anywhere below are then in JSON too."""
    _wants_json.set(wanted)
    return wanted


AsJson = Annotated[
    bool, typer.Option("--json", callback=_remember, is_eager=True, help="Print JSON instead of tables.")
]


class ExitCode(IntEnum):
    """What scripts can tell apart; docs/command-line.md lists the same. 2 is wrong usage, as everywhere."""

    REFUSED = 1
    SOME_UNREADABLE = 3
    TRY_AGAIN = 4


def fail(message: str, code: ExitCode = ExitCode.REFUSED, problem: dict[str, Any] | None = None) -> typer.Exit:
    """Print an error the way every command does, in JSON where JSON was asked for; raise what it returns."""
    if _wants_json.get():
        err.out(json.dumps({"error": problem or {"detail": message}}), highlight=False)
    else:
        err.print(f"[bold red]error[/] {message}", highlight=False)
    return typer.Exit(code)


@contextmanager
def friendly(*expected: type[Exception]) -> Generator[None]:
    """Turn expected errors into one line and an exit code."""
    try:
        yield
    except expected as error:
        again = isinstance(error, Overloaded | ServerUnreachable | TimeoutError)
        problem = error.problem if isinstance(error, InnerloopHTTPError) else None
        message = str(error.args[0]) if isinstance(error, KeyError) else str(error)
        raise fail(message, ExitCode.TRY_AGAIN if again else ExitCode.REFUSED, problem) from error


def print_json(value: Any) -> None:
    """For scripts: coloured on a terminal, plain in a pipe."""
    out.print_json(json.dumps(value))


def print_line(value: Any) -> None:
    """The same as one line, for whoever reads while the command still runs."""
    print(json.dumps(value), flush=True)


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
