"""`adapt`, `predict`, `classify` and `evaluate`: a server seen from a folder of files."""

from __future__ import annotations

import csv
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from innerloop.cli.console import AsJson, ExitCode, err, friendly, out, print_json
from innerloop.client import DEFAULT_URL, Client, InnerloopHTTPError, read_folder

Url = Annotated[str, typer.Option(envvar="INNERLOOP_URL", help="The server.")]
Key = Annotated[str | None, typer.Option(envvar="INNERLOOP_API_KEY", help="Bearer key, where the server wants one.")]

Version = Annotated[
    str | None, typer.Option(help="A number, stable or latest; default: the newest version that is ready.")
]

LABELLED = "A folder with a folder per class, or a CSV of path,label or text,label."

EXPECTED = (InnerloopHTTPError, ConnectionError, TimeoutError, ValueError, OSError)


def register(app: typer.Typer) -> None:
    app.command()(adapt)
    app.command()(predict)
    app.command()(classify)
    app.command()(evaluate)


def adapt(
    source: Annotated[Path, typer.Argument(help=LABELLED)],
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    meta_model: Annotated[str | None, typer.Option(help="A published name or alias.")] = None,
    inner_steps: Annotated[int | None, typer.Option(help="Steps of the inner loop.")] = None,
    inner_lr: Annotated[float | None, typer.Option(help="Its step size.")] = None,
    webhook: Annotated[str | None, typer.Option(help="URL that is told when it, or a later version, is ready.")] = None,
    webhook_secret: Annotated[
        str | None,
        typer.Option(
            envvar="INNERLOOP_WEBHOOK_SECRET", help="Signs what is sent there; default: the key's own secret."
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Adapt to labelled files or texts; prints the model id."""
    told = {"url": webhook, **({"secret": webhook_secret} if webhook_secret else {})} if webhook else None
    with friendly(*EXPECTED), Client(url, key) as client, naming(pairs := _pairs(source)):
        model = client.adapt(
            pairs,
            name=name,
            meta_model=meta_model,
            inner_steps=inner_steps,
            inner_lr=inner_lr,
            webhook=told,
        )
    if as_json:
        print_json(model)
        return
    classes = ", ".join(f"{c['name']} ({c['examples']})" for c in model["classes"])
    out.print(f"[bold]{model['id']}[/]  {model['status']} in {model['timings_ms']['total']:.0f} ms", highlight=False)
    out.print(f"{model['meta_model']}  {len(model['classes'])} classes: {classes}", style="dim", highlight=False)


def predict(
    given: Annotated[
        list[str],
        typer.Argument(metavar="MODEL FILES...", help="Model id, then files or texts; with --onnx, without the id."),
    ],
    onnx: Annotated[Path | None, typer.Option(help="An exported model: no server is asked.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Scores listed for each file.")] = 3,
    version: Version = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Classify files or texts; exit code 3 where some could not be read."""
    if onnx is not None:
        from innerloop import offline

        files = given
        with friendly(*EXPECTED):
            results = offline.predict(onnx, files, top_k=top_k)
    else:
        files = given[1:]
        if not files:
            raise typer.BadParameter("give a model id and at least one file or text", param_hint="FILES")
        with friendly(*EXPECTED), Client(url, key) as client:
            results = client.predict(given[0], files, top_k=top_k, version=as_version(version))
    _show(files, results, as_json=as_json)


def classify(
    files: Annotated[list[str], typer.Argument(help="Files or texts.")],
    support: Annotated[Path, typer.Option(help=LABELLED)],
    onnx: Annotated[Path | None, typer.Option(help="An adapting export: no server is asked.")] = None,
    meta_model: Annotated[str | None, typer.Option(help="A published name or alias.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Scores listed for each file.")] = 3,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Adapt and classify in one go, nothing kept; exit code 3 where some files could not be read."""
    if onnx is not None:
        from innerloop import offline

        with friendly(*EXPECTED):
            results = offline.classify(onnx, _pairs(support), files, top_k=top_k)
    else:
        with friendly(*EXPECTED), Client(url, key) as client, naming(pairs := _pairs(support)):
            results = client.classify(pairs, files, meta_model=meta_model, top_k=top_k)["results"]
    _show(files, results, as_json=as_json)


def evaluate(
    model: Annotated[str, typer.Argument(help="Model id.")],
    source: Annotated[Path, typer.Argument(help=LABELLED)],
    version: Version = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy of a model on labelled files, with its 95% interval; exit code 3 where some could not be read."""
    with friendly(*EXPECTED), Client(url, key) as client:
        pairs = _pairs(source)
        report = client.evaluate(model, pairs, version=as_version(version))
    unreadable = report["unreadable"] = [{"file": str(pairs[u["index"]][1]), **u} for u in report["unreadable"]]
    if as_json:
        print_json(report)
    else:
        _show_evaluation(report)
        for query in unreadable:
            err.print(f"[red]{query['error']['code']}[/] {query['file']}: {query['error']['detail']}", highlight=False)
    if unreadable:
        raise typer.Exit(ExitCode.SOME_UNREADABLE)


def as_version(text: str | None) -> Any:
    """As the client takes it."""
    return int(text) if text is not None and text.isdecimal() else text


@contextmanager
def naming(pairs: Sequence[tuple[str, Path | str]]) -> Generator[None]:
    """Where a server refuses labelled examples, say which files they are."""
    try:
        yield
    except InnerloopHTTPError as error:
        for finding in error.errors:
            found = re.match(r"/support/(\d+)", finding.get("pointer") or "")
            if found and isinstance(file := pairs[int(found[1])][1], Path):
                finding["file"] = str(file)
        raise


def _pairs(source: Path) -> list[tuple[str, Path | str]]:
    """(label, file or text) pairs; paths in a CSV are relative to it."""
    if source.is_dir():
        return [*read_folder(source)]
    with source.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if rows and {"text", "label"} <= rows[0].keys():
        return [(row["label"], row["text"]) for row in rows]
    if not rows or not {"path", "label"} <= rows[0].keys():
        raise ValueError(f"{source} must be a folder of class folders or a CSV with columns path or text, and label")
    return [(row["label"], source.parent / row["path"]) for row in rows]


def _show(files: list[str], results: list[dict[str, Any]], *, as_json: bool) -> None:
    """Results of `predict` and `classify`."""
    from rich.table import Table

    if as_json:
        print_json([{"file": str(f), **r} for f, r in zip(files, results, strict=True)])
    else:
        table = Table("input", "answer", "scores", box=None, header_style="dim")
        for path, result in zip(files, results, strict=True):
            table.add_row(str(path), *_row(result))
        out.print(table)
    if any("error" in result for result in results):
        raise typer.Exit(ExitCode.SOME_UNREADABLE)


def _row(result: dict[str, Any]) -> tuple[str, str]:
    if "error" in result:
        return f"[red]{result['error']['code']}[/]", result["error"]["detail"]
    scores = "  ".join(f"{s['label']} {100 * s['probability']:.1f}%" for s in result["scores"])
    return ("[yellow]unlike every class[/]" if result["rejected"] else f"[bold]{result['label']}[/]"), scores


def _show_evaluation(report: dict[str, Any]) -> None:
    from rich.table import Table

    if report["n"]:
        low, high = report["ci95"]
        out.print(
            f"accuracy [bold]{100 * report['accuracy']:.1f}%[/]  "
            f"(95% CI {100 * low:.1f}–{100 * high:.1f}, n={report['n']}); {report['rejected']} rejected; "
            f"calibration error {100 * report['calibration']['expected_calibration_error']:.1f}%",
            highlight=False,
        )
    table = Table("class", "n", "right", "most often taken for", box=None, header_style="dim")
    for row in report["per_class"]:
        right = "" if row["recall"] is None else f"{100 * row['recall']:.0f}%"
        table.add_row(row["name"], str(row["n"]), right, row["mistaken_for"] or "")
    out.print(table)
