"""`models`: what was adapted. Its commands look at one, teach it more, list and choose its versions, forget it.

The one that takes its time has a file of its own, `follow.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from innerloop.cli.console import AsJson, ExitCode, err, friendly, new_table, optional, out, print_json, print_table
from innerloop.cli.data import EXPECTED, LABELLED, Key, ModelId, Url, connect, model_id, naming
from innerloop.cli.examples import labelled, pairs
from innerloop.cli.follow import follow
from innerloop.client import DEFAULT_URL
from innerloop.client.errors import NotFound

Models = typer.Typer(no_args_is_help=False)


def register(app: typer.Typer) -> None:
    Models.callback(invoke_without_command=True)(models)
    Models.command()(show)
    Models.command()(follow)
    Models.command()(add)
    Models.command()(versions)
    Models.command()(update)
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
        made = client.add_examples(model, pairs(examples))
        state = {"id": model, **made}
        with optional("what its versions share"):
            state = client.model(model)
        _print(state, as_json=as_json)


def versions(model: ModelId, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False) -> None:
    """List its versions, the newest first, and what made each of which."""
    with friendly(*EXPECTED), connect(url, key) as client:
        found = client.versions(model)
    if as_json:
        print_json(found)
        return
    table = new_table("version", "status", "made by", "classes", "examples", "own examples right")
    for one in found:
        status = f"{one['status']}, stable" if one["stable"] else one["status"]
        sizes = [str(len(one["classes"])), str(sum(c["examples"] for c in one["classes"]))]
        table.add_row(str(one["version"]), status, _made_by(one["change"]), *sizes, _right(one["quality"] or {}))
    print_table(table)


def update(
    model: ModelId,
    name: Annotated[str | None, typer.Option(help="Another name for people; '' takes it away.")] = None,
    stable: Annotated[int | None, typer.Option(min=1, help="Number of the version that is stable from now on.")] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Change its name or choose its stable version; nothing is adapted."""
    changes: dict[str, Any] = {} if name is None else {"name": name or None}
    if stable is not None:
        changes["stable"] = stable
    if not changes:
        raise typer.BadParameter("give what to change: --name, --stable, or both")
    with friendly(*EXPECTED), connect(url, key) as client:
        _print(client.update(model, **changes), as_json=as_json)


def delete(
    ids: Annotated[list[str], typer.Argument(metavar="MODELS...", help="Model ids.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Forget models with all their versions, support sets and weights; exit code 1 where one is absent."""
    for given in ids:
        model_id(given)
    deleted: list[str] = []
    errors: list[dict[str, Any]] = []
    with friendly(*EXPECTED), connect(url, key) as client:
        try:
            for model in ids:
                try:
                    client.delete(model)
                except NotFound as absent:
                    errors.append({"model": model, "error": absent.problem})
                    if not as_json:
                        told = f" {model}: {absent.problem.get('detail')}"
                        err.print(Text.assemble((absent.code, "red"), told), soft_wrap=True)
                else:
                    deleted.append(model)
                    if not as_json:
                        out.print(f"{model} is deleted", highlight=False)
        finally:  # what is gone is told, whatever came in between
            if as_json and (deleted or errors):
                print_json({"deleted": deleted, "errors": errors})
    if errors:
        raise typer.Exit(ExitCode.REFUSED)


def _until(model: dict[str, Any]) -> str:
    return model["expires_at"][:16].replace("T", " ")


def _made_by(change: dict[str, Any] | None) -> str:
    if change is None:
        return ""
    counts = "".join(f" {sign}{change[of]}" for sign, of in (("+", "added"), ("-", "removed")) if change[of])
    return f"{change['kind'].replace('_', ' ')}{counts}, from {change['base']}"


def _right(quality: dict[str, Any]) -> str:
    return "" if quality.get("accuracy") is None else f"{100 * quality['accuracy']:.0f}%"


def _print(model: dict[str, Any], *, as_json: bool) -> None:
    """A model, or what is known of it by a version alone."""
    if as_json:
        print_json(model)
        return
    stable = f", stable is v{model['stable_version']}" if model.get("latest_version", 1) > 1 else ""
    state = f"{model.get('name') or ''}  {model['status']}, v{model['version']}{stable}"
    out.print(Text.assemble((model["id"], "bold"), f"  {state}"))
    if "expires_at" in model:
        out.print(f"{model['meta_model']}, until {_until(model)}", style="dim", highlight=False)
    quality = model["quality"] or {}
    if quality.get("accuracy") is not None:
        low, high = quality["ci95"]
        right = f"{_right(quality)} (95% CI {100 * low:.0f}–{100 * high:.0f})"
        out.print(f"{right} of its own examples, {quality['method'].replace('_', ' ')}", highlight=False)
    table = new_table("class", "examples")
    for one in model["classes"]:
        table.add_row(one["name"], str(one["examples"]))
    print_table(table)
    for warning in quality.get("warnings", ()):
        out.print(warning, style="yellow", highlight=False)
