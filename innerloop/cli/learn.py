"""`meta-train`: from a recipe to a published meta-model."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    pass
