"""`adapt`, `predict`, `classify`, `evaluate` and `meta-models`: a server seen from a folder of files."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from innerloop.cli.console import AsJson, ExitCode, fail, friendly, out, print_json
from innerloop.client import DEFAULT_URL, Client, InnerloopHTTPError, read_folder

Url = Annotated[str, typer.Option(envvar="INNERLOOP_URL", help="The server.")]
Key = Annotated[str | None, typer.Option(envvar="INNERLOOP_API_KEY", help="Bearer key, where the server wants one.")]

EXPECTED = (InnerloopHTTPError, ConnectionError, TimeoutError, ValueError, OSError)


def register(app: typer.Typer) -> None:
    app.command()(adapt)
    app.command()(predict)
    app.command()(classify)
    app.command()(evaluate)
    app.command("meta-models")(meta_models)


def adapt(
    source: Annotated[Path, typer.Argument(help="A folder with a folder per class, or a CSV of path,label.")],
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    meta_model: Annotated[str | None, typer.Option(help="A published name or alias.")] = None,
    inner_steps: Annotated[int | None, typer.Option(help="Steps of the inner loop.")] = None,
    inner_lr: Annotated[float | None, typer.Option(help="Its step size.")] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Adapt to labelled files; prints the model id."""
    with friendly(*EXPECTED), Client(url, key) as client:
        model = client.adapt(
            _pairs(source), name=name, meta_model=meta_model, inner_steps=inner_steps, inner_lr=inner_lr
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
        typer.Argument(metavar="MODEL FILES...", help="Model id, then image files; with --onnx, files alone."),
    ],
    onnx: Annotated[Path | None, typer.Option(help="An exported model: no server is asked.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Scores listed for each file.")] = 3,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Classify files; exit code 3 where some could not be read."""
    if onnx is not None:
        from innerloop import offline

        files = [Path(name) for name in given]
        with friendly(*EXPECTED):
            results = offline.predict(onnx, files, top_k=top_k)
    else:
        files = [Path(name) for name in given[1:]]
        if not files:
            raise typer.BadParameter("give a model id and at least one file", param_hint="FILES")
        with friendly(*EXPECTED), Client(url, key) as client:
            results = client.predict(given[0], files, top_k=top_k)
    _show(files, results, as_json=as_json)


def classify(
    files: Annotated[list[Path], typer.Argument(help="Image files.")],
    support: Annotated[Path, typer.Option(help="Labelled files: a folder per class, or a CSV of path,label.")],
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
        with friendly(*EXPECTED), Client(url, key) as client:
            results = client.classify(_pairs(support), files, meta_model=meta_model, top_k=top_k)["results"]
    _show(files, results, as_json=as_json)


def evaluate(
    model: Annotated[str, typer.Argument(help="Model id.")],
    source: Annotated[Path, typer.Argument(help="Labelled files: a folder per class, or a CSV of path,label.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy of a model on labelled files, with its 95% confidence interval."""
    from rich.table import Table

    with friendly(*EXPECTED), Client(url, key) as client:
        pairs = _pairs(source)
        known = {c["name"] for c in client.model(model)["classes"]}
        if strange := sorted({label for label, _ in pairs} - known):
            raise fail(f"the model does not know class {strange[0]!r}; it knows {', '.join(sorted(known))}")
        results = client.predict(model, [path for _, path in pairs], top_k=1)
    report = _report([label for label, _ in pairs], results)
    if as_json:
        print_json(report)
        return
    low, high = report["ci95"]
    out.print(
        f"accuracy [bold]{100 * report['accuracy']:.1f}%[/]  "
        f"(95% CI {100 * low:.1f}–{100 * high:.1f}, n={report['n']}); "
        f"{report['rejected']} rejected, {report['unreadable']} unreadable",
        highlight=False,
    )
    table = Table("class", "n", "right", "most often taken for", box=None, header_style="dim")
    for row in report["classes"]:
        table.add_row(row["name"], str(row["n"]), f"{100 * row['accuracy']:.0f}%", row["mistaken_for"] or "")
    out.print(table)


def meta_models(url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False) -> None:
    """List the published meta-models of a server."""
    from rich.table import Table

    with friendly(*EXPECTED), Client(url, key) as client:
        found = client.meta_models()
    if as_json:
        print_json(found)
        return
    table = Table(
        "meta-model", "alias", "algorithm", "inner steps", "accuracy, inductive (%)", box=None, header_style="dim"
    )
    for card in found:
        figures = ", ".join(
            f"{f['protocol']} {f['n_way']}w{f['n_shot']}s {f['accuracy']:.1f}±{f['ci95']:.1f}"
            for f in card["benchmarks"]
        )
        steps = card["inner_loop"]["inner_steps"] if card["inner_loop"] else "–"
        table.add_row(card["reference"], ", ".join(card["aliases"]), card["algorithm"], str(steps), figures)
    out.print(table)


def _pairs(source: Path) -> list[tuple[str, Path]]:
    """(label, file) pairs; paths in a CSV are relative to it."""
    if source.is_dir():
        return read_folder(source)
    with source.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"path", "label"} <= rows[0].keys():
        raise ValueError(f"{source} must be a folder of class folders or a CSV with columns path and label")
    return [(row["label"], source.parent / row["path"]) for row in rows]


def _show(files: list[Path], results: list[dict[str, Any]], *, as_json: bool) -> None:
    """Results of `predict` and `classify`."""
    from rich.table import Table

    if as_json:
        print_json([{"file": str(f), **r} for f, r in zip(files, results, strict=True)])
    else:
        table = Table("file", "answer", "scores", box=None, header_style="dim")
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


def _report(labels: list[str], results: list[dict[str, Any]]) -> dict[str, Any]:
    """A rejected query counts by its best guess; an unreadable one counts as wrong."""
    from meta_models.measures import wilson

    answers = [None if "error" in r else r["scores"][0]["label"] for r in results]
    right = sum(a == label for a, label in zip(answers, labels, strict=True))
    classes: list[dict[str, Any]] = []
    for name, n in sorted(Counter(labels).items()):
        given = Counter(a for a, label in zip(answers, labels, strict=True) if label == name)
        hits = given.pop(name, 0)
        given.pop(None, 0)
        worst = given.most_common(1)[0][0] if given else None
        classes.append({"name": name, "n": n, "accuracy": hits / n, "mistaken_for": worst})
    return {
        "accuracy": right / len(labels),
        "ci95": wilson(right, len(labels)),
        "n": len(labels),
        "rejected": sum(r.get("rejected", False) for r in results),
        "unreadable": sum("error" in r for r in results),
        "classes": classes,
    }
