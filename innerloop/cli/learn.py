"""`meta-train`: from a recipe to a published meta-model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from innerloop.cli.console import AsJson, Throttle, err, friendly, out, print_json

OWN = "own-drawings"
"""The recipe for a folder of pictures for each class."""


def register(app: typer.Typer) -> None:
    app.command("meta-train")(meta_train)


def meta_train(
    recipe: Annotated[
        str | None,
        typer.Argument(help="A committed recipe or a TOML file; left out, --data holds your own classes."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data set, downloaded where it is empty; or a folder a class.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name to publish under; by default the recipe's or folder's.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Checkpoints, logs and plots; an interrupted run goes on.")] = Path("runs"),
    zoo: Annotated[
        Path | None, typer.Option(help="Where to publish; default ./meta-models, of committed recipes meta_models/zoo.")
    ] = None,
    episodes: Annotated[int | None, typer.Option(min=2, help="Test episodes a figure.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; default: what there is.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Meta-train, choose on development classes, export, measure and publish. Resumes after interruption."""
    import torch
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from meta_models.catalogue import ZOO, why_no_name
    from meta_models.datasets import DataError
    from meta_models.manifest import COMMITTED
    from meta_models.produce import produce
    from meta_models.publish import PublishError
    from meta_models.recipe import load_recipe

    if threads:
        torch.set_num_threads(threads)
    with friendly(OSError, DataError, PublishError, ValueError):
        if recipe is None and data is None:
            raise ValueError("name a recipe, or give --data FOLDER with a folder of pictures for each class")
        read = load_recipe(recipe or OWN)
        own = read.data.name == "folder" or not read.file.startswith(COMMITTED)
        shipped = None if own else read.name
        if read.data.name == "folder" and data is None:
            raise ValueError(f"{read.name} learns from your own classes: give --data FOLDER")
        data, zoo = data or Path("data"), zoo or (Path("meta-models") if own else ZOO)
        read = read.model_copy(update={"name": name or (slug(data.resolve().name) if recipe is None else read.name)})
        if read.name != shipped and (why := why_no_name(read.name)):
            raise ValueError(why if name else f"{why} with --name")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
            bar = progress.add_task("meta-training", total=read.outer.all_steps)
            every_minute = Throttle(60)

            def show(step: int, figures: dict[str, float]) -> None:
                shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
                progress.update(bar, completed=step, description=f"meta-training  {shown}")
                if not err.is_terminal and every_minute():
                    err.print(f"step {step} of {read.outer.all_steps}  {shown}", highlight=False)

            say = err if as_json else out
            manifest = produce(
                read,
                data,
                runs / read.name,
                zoo=zoo,
                episodes=episodes,
                device=device,
                say=lambda text: say.print(text, highlight=False, soft_wrap=True),
                on_progress=show,
            )
        if not why_no_name(read.name):
            say.print(f"serve it: INNERLOOP_META_MODELS_DIR={zoo} innerloop serve", highlight=False, soft_wrap=True)
        if as_json:
            print_json({"folder": str(zoo / manifest.name), **manifest.model_dump(mode="json")})


def slug(text: str) -> str:
    """A name that a meta-model can have.

    Raises:
        ValueError: nothing of it can stay.
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:41]
    if len(name) < 2:
        raise ValueError(f"{text!r} makes no name of a meta-model; give --name")
    return name
