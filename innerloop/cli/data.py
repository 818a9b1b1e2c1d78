"""`adapt`, `predict`, `classify` and `evaluate`: a server seen from a folder of files."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from innerloop.cli.console import (
    AsJson,
    ExitCode,
    err,
    friendly,
    inherited,
    new_table,
    note,
    optional,
    out,
    print_json,
    print_table,
)
from innerloop.cli.doubts import named, short, suspicion
from innerloop.cli.examples import Content, Example, answered, by_content, given, labelled, pairs
from innerloop.client import DEFAULT_URL, Client, InnerloopHTTPError
from innerloop.client.steps import batches

connect = partial(Client, tries=6)
"""People wait at a command: where nobody answers it says so after three to six seconds."""

MODEL_ID = "mdl_"
"""What every model id begins with."""


def model_id(given: str | None) -> str | None:
    """A command's argument, where one is given.

    Raises:
        typer.BadParameter: it is no model id.
    """
    if given is None or given.startswith(MODEL_ID):
        return given
    raise typer.BadParameter(f"{given!r} is no model id; one begins with {MODEL_ID}, and `innerloop models` lists them")


ModelId = Annotated[str, typer.Argument(metavar="MODEL", callback=model_id, help="Model id.")]

Url = Annotated[str, typer.Option(envvar="INNERLOOP_URL", callback=inherited, help="The server.")]
Key = Annotated[
    str | None,
    typer.Option(envvar="INNERLOOP_API_KEY", callback=inherited, help="Bearer key, where the server wants one."),
]

Version = Annotated[
    str | None, typer.Option(help="A number, stable or latest; default: the newest version that is ready.")
]

InnerSteps = Annotated[int | None, typer.Option(help="Steps of the inner loop.")]
InnerLr = Annotated[float | None, typer.Option(help="Its step size.")]

LABELLED = "A folder with a folder per class, or a CSV of path,label or text,label."

QUALITY_SECONDS = 5.0
"""How long `adapt` waits for the warnings of a model that is ready."""

AT_ONCE = 1000
"""Most inputs of a request that classifies, each of which adapts: as many as a server takes unless set otherwise."""

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
    inner_steps: InnerSteps = None,
    inner_lr: InnerLr = None,
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
    with friendly(*EXPECTED), connect(url, key) as client, naming(support := by_content(labelled(source))):
        model = client.adapt(
            pairs(support),
            name=name,
            meta_model=meta_model,
            inner_steps=inner_steps,
            inner_lr=inner_lr,
            webhook=told,
        )
        if model["quality"] is None:
            with suppress(TimeoutError), optional("its quality"):
                model["quality"] = client.quality(model["id"], wait=QUALITY_SECONDS)
        if quality := model["quality"]:
            brought: list[dict[str, Any]] = []
            if "/support/" in json.dumps(quality):
                with optional("which files its warnings are about"):
                    brought = client.examples(model["id"])
            model["quality"] = quality = named(quality, brought, support)
    if as_json:
        print_json(model)
        return
    classes = ", ".join(f"{c['name']} ({c['examples']})" for c in model["classes"])
    out.print(Text.assemble((model["id"], "bold"), f"  {model['status']} in {model['timings_ms']['total']:.0f} ms"))
    out.print(f"{model['meta_model']}  {len(model['classes'])} classes: {classes}", style="dim", highlight=False)
    for warning in [*quality["warnings"], *map(suspicion, quality["suspicious"])] if quality else ():
        note(warning)


def predict(
    files: Annotated[
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
    """Classify files or texts, and the rows of CSV and `.npy` files; exit code 3 where some could not be read."""
    if onnx is not None:
        if version is not None:
            raise typer.BadParameter("an export is one version; leave --version out")
        from innerloop import offline

        with friendly(*EXPECTED):
            results = answered(given(files), partial(offline.predict, onnx, top_k=top_k))
    else:
        model, *files = files
        model_id(model)
        if not files:
            raise typer.BadParameter("give a model id and at least one file or text", param_hint="FILES")
        with friendly(*EXPECTED), connect(url, key) as client:
            ask = partial(client.predict, model, top_k=top_k, version=as_version(version))
            results = answered(given(files), ask)
    _show(results, as_json=as_json)


def classify(
    files: Annotated[list[str], typer.Argument(help="Files or texts.")],
    support: Annotated[Path, typer.Option(help=LABELLED)],
    onnx: Annotated[Path | None, typer.Option(help="An adapting export: no server is asked.")] = None,
    meta_model: Annotated[str | None, typer.Option(help="A published name or alias.")] = None,
    inner_steps: InnerSteps = None,
    inner_lr: InnerLr = None,
    top_k: Annotated[int, typer.Option(min=1, help="Scores listed for each file.")] = 3,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Adapt and classify in one go, nothing kept; exit code 3 where some files could not be read."""
    if onnx is not None:
        if (meta_model, inner_steps, inner_lr) != (None, None, None):
            raise typer.BadParameter("an adapting export has its meta-model, steps and step size inside")
        from innerloop import offline

        with friendly(*EXPECTED):
            ask = partial(offline.classify, onnx, pairs(labelled(support)), top_k=top_k)
            results = answered(given(files), ask)
    else:
        with friendly(*EXPECTED), connect(url, key) as client, naming(examples := labelled(support)):
            ask = partial(
                client.classify,
                pairs(examples),
                meta_model=meta_model,
                inner_steps=inner_steps,
                inner_lr=inner_lr,
                top_k=top_k,
            )

            def in_parts(inputs: list[Content]) -> list[dict[str, Any]]:
                return [result for part in batches(inputs, AT_ONCE) for result in ask(part)["results"]]

            results = answered(given(files), in_parts)
    _show(results, as_json=as_json)


def evaluate(
    model: ModelId,
    source: Annotated[Path, typer.Argument(help=LABELLED)],
    version: Version = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy of a model on labelled files, with its 95% interval; exit code 3 where some could not be read."""
    with friendly(*EXPECTED), connect(url, key) as client:
        queries = labelled(source)
        sent = [i for i, query in enumerate(queries) if not query.error]
        asked = pairs([queries[i] for i in sent] or queries)  # of which none can be read, it says why
        report = client.evaluate(model, asked, version=as_version(version))
    broken = {i: {"index": i, "error": query.error} for i, query in enumerate(queries) if query.error}
    broken |= {sent[u["index"]]: {**u, "index": sent[u["index"]]} for u in report["unreadable"]}
    unreadable = report["unreadable"] = [{"file": queries[i].name, **broken[i]} for i in sorted(broken)]
    if as_json:
        print_json(report)
    else:
        _show_evaluation(report)
        for query in unreadable:
            code, detail = query["error"]["code"], query["error"]["detail"]
            err.print(Text.assemble((code, "red"), f" {query['file']}: {detail}"), soft_wrap=True)
    if unreadable:
        raise typer.Exit(ExitCode.SOME_UNREADABLE)


def as_version(text: str | None) -> Any:
    """As the client takes it."""
    return int(text) if text is not None and text.isdecimal() else text


@contextmanager
def naming(examples: Sequence[Example]) -> Generator[None]:
    """Where a server refuses labelled examples, say which files or texts they are."""
    try:
        yield
    except InnerloopHTTPError as error:
        for finding in error.errors:
            found = re.match(r"/(?:support|examples)/(\d+)", finding.get("pointer") or "")
            if found:
                finding["file"] = short(examples[int(found[1])].name)
        raise


def _show(results: list[dict[str, Any]], *, as_json: bool) -> None:
    """Results of `predict` and `classify`."""
    if as_json:
        print_json(results)
    else:
        table = new_table("input", "answer", "scores")
        for result in results:
            table.add_row(result["file"], *_row(result))
        print_table(table)
    if any("error" in result for result in results):
        raise typer.Exit(ExitCode.SOME_UNREADABLE)


def _row(result: dict[str, Any]) -> tuple[Text, str]:
    if "error" in result:
        return Text(result["error"]["code"], "red"), result["error"]["detail"]
    scores = "  ".join(f"{s['label']} {100 * s['probability']:.1f}%" for s in result["scores"])
    return Text("unlike every class", "yellow") if result["rejected"] else Text(result["label"], "bold"), scores


def _show_evaluation(report: dict[str, Any]) -> None:
    if report["n"]:
        low, high = report["ci95"]
        accuracy = (f"{100 * report['accuracy']:.1f}%", "bold")
        rest = (
            f"  (95% CI {100 * low:.1f}–{100 * high:.1f}, n={report['n']}); {report['rejected']} rejected; "
            f"calibration error {100 * report['calibration']['expected_calibration_error']:.1f}%"
        )
        out.print(Text.assemble("accuracy ", accuracy, rest))
    table = new_table("class", "n", "right", "most often taken for")
    for row in report["per_class"]:
        right = "" if row["recall"] is None else f"{100 * row['recall']:.0f}%"
        table.add_row(row["name"], str(row["n"]), right, row["mistaken_for"] or "")
    print_table(table)
