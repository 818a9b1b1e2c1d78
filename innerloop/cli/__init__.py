"""The `innerloop` command. Each command imports what it needs when it runs, so that `--help` is instant."""

from __future__ import annotations

import typer

from innerloop.cli import benchmark, data, keys, learn, meta_models, models, preview, server, show, take

app = typer.Typer(
    name="innerloop",
    help="Few-shot model adaptation: post a handful of labelled examples, get a model.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
for module in (server, keys, show, data, preview, take, models, meta_models, learn, benchmark):
    module.register(app)

__all__ = ["app"]
