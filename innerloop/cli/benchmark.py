"""`benchmark`: the figures of every published meta-model again, from the data to the page."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from innerloop.cli.console import AsJson, err, friendly, out, print_json, print_line


def register(app: typer.Typer) -> None:
    benchmarks = typer.Typer(help="Measure published meta-models.", no_args_is_help=True)
    benchmarks.command()(accuracy)
    benchmarks.command()(cards)
    app.add_typer(benchmarks, name="benchmark")


def accuracy(
    data: Annotated[Path, typer.Option(help="Folder of the data set; downloaded where it is empty.")] = Path("data"),
    episodes: Annotated[
        int | None, typer.Option(min=2, help="Episodes a figure; default 10,000, 1,000 where no body is shared.")
    ] = None,
    only: Annotated[str, typer.Option(help="Meta-models whose name contains this; several with commas.")] = "",
    log: Annotated[Path, typer.Option(help="Measured figures; what it has is not measured again.")] = Path(
        "benchmarks/results/accuracy.jsonl"
    ),
    page: Annotated[Path, typer.Option(help="Markdown page whose generated part is replaced.")] = Path(
        "docs/benchmarks.md"
    ),
    as_json: AsJson = False,
) -> None:
    """Accuracy of all meta-models by setting and protocol, and against steps, shots, imbalance and wrong labels."""
    from meta_models import benchmark, report
    from meta_models.catalogue import Catalogue
    from meta_models.datasets import DataError
    from meta_models.sources import load_splits

    with friendly(FileNotFoundError, DataError, ValueError):
        measured = benchmark.Log(log)
        chosen = [p for p in Catalogue() if any(part in p.manifest.name for part in only.split(","))]

        def show(row: benchmark.Row) -> None:
            what = f"{row.curve} {row.x:g}" if row.curve != "table" else ""
            if as_json:
                print_line(asdict(row))
                return
            line = f"{row.meta_model} {row.protocol} {row.n_way}w{row.n_shot}s {what}: {row.accuracy} ± {row.ci95}"
            out.print(line, highlight=False, soft_wrap=True)

        with err.status("measuring …"):
            costs = benchmark.run(chosen, partial(load_splits, data), measured, show, episodes)
        report.write(measured.rows, costs, page, page.parent / "plots" / "accuracy.png")
        say = err if as_json else out
        say.print(f"written: {page}, {page.parent / 'plots' / 'accuracy.png'}, {log}", soft_wrap=True)


def cards(
    again: Annotated[
        str, typer.Option(help="Measure the cards of these published meta-models again; names with commas.")
    ] = "",
    data: Annotated[Path, typer.Option(help="Folder of the data set; downloaded where it is empty.")] = Path("data"),
    page: Annotated[Path, typer.Option(help="Markdown page whose generated part is replaced.")] = Path(
        "docs/benchmarks.md"
    ),
    as_json: AsJson = False,
) -> None:
    """The figures that the cards of drawing meta-models hold, side by side; with --again measured once more first."""
    from meta_models import report
    from meta_models.catalogue import Catalogue
    from meta_models.datasets import DataError
    from meta_models.produce import measure_again

    with friendly(FileNotFoundError, DataError, ValueError):
        catalogue, say = Catalogue(), err if as_json else out
        for name in filter(None, again.split(",")):
            measure_again(catalogue.resolve(name), data, say=lambda text: say.print(text, highlight=False))
        manifests = [p.manifest for p in Catalogue()]
        report.replace_part(page, report.CARDS, report.cards_table(manifests))
        say.print(f"written: {page}", soft_wrap=True)
        if as_json:
            print_json({m.name: [figure.model_dump(mode="json") for figure in m.benchmarks] for m in manifests})
