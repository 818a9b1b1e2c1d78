"""`meta-train`: from a recipe to a published meta-model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from innerloop.cli.console import AsJson, Throttle, err, friendly, out, print_json


def register(app: typer.Typer) -> None:
    app.command("meta-train")(meta_train)


def meta_train(
    recipe: Annotated[str, typer.Argument(help="Name of a committed recipe, or a TOML file.")],
    data: Annotated[Path, typer.Option(help="Folder of the data set; downloaded where it is empty.")] = Path("data"),
    runs: Annotated[Path, typer.Option(help="Checkpoints, logs and plots; an interrupted run goes on.")] = Path("runs"),
    zoo: Annotated[Path | None, typer.Option(help="Where to publish; default meta_models/zoo.")] = None,
    episodes: Annotated[int | None, typer.Option(min=2, help="Test episodes a figure.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; default: what there is.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Meta-train, choose on development classes, export, measure and publish. Resumes after interruption."""
    import torch
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from meta_models.catalogue import ZOO
    from meta_models.datasets import DataError
    from meta_models.produce import produce
    from meta_models.publish import PublishError
    from meta_models.recipe import load_recipe

    if threads:
        torch.set_num_threads(threads)
    with friendly(FileNotFoundError, DataError, PublishError, ValueError):
        read = load_recipe(recipe)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
            bar = progress.add_task("meta-training", total=read.outer.steps)
            every_minute = Throttle(60)

            def show(step: int, figures: dict[str, float]) -> None:
                shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
                progress.update(bar, completed=step, description=f"meta-training  {shown}")
                if not err.is_terminal and every_minute():
                    err.print(f"step {step} of {read.outer.steps}  {shown}", highlight=False)

            say = err if as_json else out
            manifest = produce(
                read,
                data,
                runs / read.name,
                zoo=zoo or ZOO,
                episodes=episodes,
                device=device,
                say=lambda text: say.print(text, highlight=False, soft_wrap=True),
                on_progress=show,
            )
        if as_json:
            print_json({"folder": str((zoo or ZOO) / manifest.name), **manifest.model_dump(mode="json")})
