"""The `innerloop` command. Each command imports what it needs when it runs, so that `--help` is instant."""

from __future__ import annotations

from typing import Annotated

import typer

from innerloop.cli import benchmark, data, keys, learn, meta_models, models, preview, server, show, take
from innerloop.cli.usage import Commands

app = typer.Typer(
    cls=Commands,
    name="innerloop",
    help="Few-shot model adaptation: post a handful of labelled examples, get a model.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"innerloop {version('innerloop')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


for module in (server, keys, show, data, preview, take, models, meta_models, learn, benchmark):
    module.register(app)

__all__ = ["app"]
