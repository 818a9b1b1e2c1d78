"""Where people read: one rich console for results, one for progress and errors. Exit codes live here.

What is printed may be anybody's words, so brackets and colons in a string mean nothing; styles are given as `Text`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from innerloop.client.errors import InnerloopHTTPError, Overloaded, ServerUnreachable

if TYPE_CHECKING:
    from rich.table import Table

out = Console(markup=False, emoji=False)
err = Console(markup=False, emoji=False, stderr=True)
_in_a_pipe = Console(markup=False, emoji=False, width=100_000)
"""A row of a table is a line there, however long."""


_wants_json: ContextVar[bool] = ContextVar("wants_json", default=False)


def inherited(context: typer.Context, parameter: typer.CallbackParam, value: Any) -> Any:
    """An option as given, else as given before the subcommand: `models --url URL show MODEL` asks that server.

    The command line goes before the environment in either place, which a default of the subcommand would not.
    """
    above, name = context.parent, parameter.name or ""
    if above is None or _is_said(context.get_parameter_source(name)) or not _is_said(above.get_parameter_source(name)):
        return value
    return above.params[name]


def _is_said(source: Enum | None) -> bool:
    """On the command line, of where a parameter's value comes from."""
    return source is not None and source.name == "COMMANDLINE"


def _remember(context: typer.Context, parameter: typer.CallbackParam, value: bool) -> bool:
    """Errors anywhere below are then in JSON too."""
    wanted = inherited(context, parameter, value)
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
        print_error(problem or {"detail": message})
    else:
        err.print(Text.assemble(("error", "bold red"), f" {message}"))
    return typer.Exit(code)


def print_error(problem: dict[str, Any]) -> None:
    """In JSON, a line."""
    err.out(json.dumps({"error": problem}), highlight=False)


def note(message: str) -> None:
    """Say on standard error what goes on all the same, in JSON, a line, where JSON was asked for."""
    if _wants_json.get():
        err.out(json.dumps({"warning": {"detail": message}}), highlight=False)
    else:
        err.print(Text.assemble(("note", "bold yellow"), f" {message}"))


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


@contextmanager
def optional(what: str) -> Generator[None]:
    """What is read once the work is done: where it cannot be, as with a key of scope `adapt`, that is only noted."""
    try:
        yield
    except (InnerloopHTTPError, ConnectionError) as error:
        note(f"{what} could not be read: {error}")


def new_table(*headings: str) -> Table:
    """Whose cells break into lines where there is no room for them; nothing is cut."""
    from rich.table import Table

    table = Table(box=None, header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def print_table(table: Table) -> None:
    (out if out.is_terminal else _in_a_pipe).print(table)


def print_json(value: Any) -> None:
    """For scripts: coloured on a terminal, plain in a pipe."""
    out.print_json(json.dumps(value))


def print_line(value: Any) -> None:
    """The same as one line, for whoever reads while the command still runs."""
    try:
        print(json.dumps(value), flush=True)
    except BrokenPipeError:  # who reads has had enough
        out.on_broken_pipe()


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
