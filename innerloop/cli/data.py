"""`adapt`, `predict`, `evaluate`, `demo` and `meta-models`: a server seen from a folder of files."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    pass
