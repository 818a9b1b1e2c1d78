"""The root of all commands: where JSON is asked for, wrong usage is told in JSON too."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from innerloop.cli.console import print_error

UsageError: Any = typer.BadParameter.__base__
"""Everything that a command line can have wrong. Typer has no name of its own for it."""


class Commands(TyperGroup):
    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """As Typer's, but for words in the place of its box. An option that is wrong may stand before `--json`, so
        that is looked for among all that was given."""
        asked = "--json" in (sys.argv[1:] if args is None else args)
        alone = standalone_mode and not asked
        try:
            done = super().main(args, prog_name, complete_var, alone, windows_expand_args, **extra)
        except UsageError as error:
            if not (standalone_mode and asked):
                raise
            print_error({"detail": error.format_message()})
            sys.exit(error.exit_code)
        if not standalone_mode:
            return done
        sys.exit(done)
