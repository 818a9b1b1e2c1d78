"""`models`: what was adapted. `models show`, `models add` and `models delete` look at one, teach it more, forget it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from innerloop.cli.console import AsJson, friendly, new_table, out, print_json, print_table
from innerloop.cli.data import EXPECTED, LABELLED, Key, ModelId, Url, connect, model_id, naming
from innerloop.cli.examples import labelled, pairs
from innerloop.client import DEFAULT_URL

Models = typer.Typer(no_args_is_help=False)


def register(app: typer.Typer) -> None:
    Models.callback(invoke_without_command=True)(models)
    Models.command()(show)
    Models.command()(add)
    Models.command()(delete)
    app.add_typer(Models, name="models")


def models(context: typer.Context, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False) -> None:
    """List your models, the newest first."""
    if context.invoked_subcommand is not None:
        return
    with friendly(*EXPECTED), connect(url, key) as client:
        found = client.models()
    if as_json:
        print_json(found)
        return
    table = new_table("model", "name", "status", "version", "meta-model", "classes", "expires")
    table.columns[0].no_wrap = True
    for one in found:
        about = [one["status"], str(one["version"]), one["meta_model"], str(len(one["classes"]))]
        table.add_row(one["id"], one["name"] or "", *about, _until(one))
    print_table(table)


def show(model: ModelId, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False) -> None:
    """Its classes, quality and warnings."""
    with friendly(*EXPECTED), connect(url, key) as client:
        _print(client.model(model), as_json=as_json)


def add(
    model: ModelId,
    source: Annotated[Path, typer.Argument(help=LABELLED)],
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Add labelled files or texts, to its classes or new ones: a new version."""
    with friendly(*EXPECTED), connect(url, key) as client, naming(examples := labelled(source)):
        client.add_examples(model, pairs(examples))
        _print(client.model(model), as_json=as_json)


def delete(
    ids: Annotated[list[str], typer.Argument(metavar="MODELS...", help="Model ids.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Forget models with all their versions, support sets and weights."""
    for given in ids:
        model_id(given)
    with friendly(*EXPECTED), connect(url, key) as client:
        for model in ids:
            client.delete(model)
            if not as_json:
                out.print(f"{model} is deleted", highlight=False)
    if as_json:
        print_json({"deleted": ids})


def _until(model: dict[str, Any]) -> str:
    return model["expires_at"][:16].replace("T", " ")


def _print(model: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(model)
        return
    out.print(Text.assemble((model["id"], "bold"), f"  {model['name'] or ''}  {model['status']}, v{model['version']}"))
    out.print(f"{model['meta_model']}, until {_until(model)}", style="dim", highlight=False)
    quality = model["quality"] or {}
    if quality.get("accuracy") is not None:
        low, high = quality["ci95"]
        right = f"{100 * quality['accuracy']:.0f}% (95% CI {100 * low:.0f}–{100 * high:.0f})"
        out.print(f"{right} of its own examples, {quality['method'].replace('_', ' ')}", highlight=False)
    table = new_table("class", "examples")
    for one in model["classes"]:
        table.add_row(one["name"], str(one["examples"]))
    print_table(table)
    for warning in quality.get("warnings", ()):
        out.print(warning, style="yellow", highlight=False)
