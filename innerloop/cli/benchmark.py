"""`benchmark`: the figures of every published meta-model again, from the data to the page."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from innerloop.cli.console import AsJson, err, friendly, out, print_line


def register(app: typer.Typer) -> None:
    benchmarks = typer.Typer(help="Measure published meta-models.", no_args_is_help=True)
    benchmarks.command()(accuracy)
    app.add_typer(benchmarks, name="benchmark")


def accuracy(
    data: Annotated[Path, typer.Option(help="Folder of the data set; downloaded where it is empty.")] = Path("data"),
    episodes: Annotated[
        int | None, typer.Option(min=2, help="Episodes a figure; default 10,000, 1,000 where no body is shared.")
    ] = None,
    only: Annotated[
        str,
        typer.Option(help="Meta-models whose name contains this; several with commas. Others stay as they are."),
    ] = "",
    again: Annotated[
        bool, typer.Option("--again", help="First measure once more what the cards of these meta-models say.")
    ] = False,
    curves: Annotated[
        bool, typer.Option(help="Measure points that are missing; else what adapting costs alone.")
    ] = True,
    log: Annotated[Path, typer.Option(help="Measured points, not measured again; costs.jsonl is beside it.")] = Path(
        "benchmarks/results/accuracy.jsonl"
    ),
    page: Annotated[Path, typer.Option(help="Markdown page whose generated part is replaced.")] = Path(
        "docs/benchmarks.md"
    ),
    as_json: AsJson = False,
) -> None:
    """Accuracy of all meta-models by setting and protocol, which their cards hold, beside what adapting costs; and
    against steps, shots, imbalance and wrong labels."""
    from meta_models import benchmark, costs, report
    from meta_models.catalogue import Catalogue
    from meta_models.datasets import DataError
    from meta_models.produce import measure_again
    from meta_models.sources import load_splits

    say = partial((err if as_json else out).print, highlight=False, soft_wrap=True)
    with friendly(FileNotFoundError, DataError, ValueError):
        measured = benchmark.Log(log)
        chosen = [p for p in Catalogue() if any(part.strip() in p.manifest.name for part in only.split(","))]
        if again:
            chosen = [replace(one, manifest=measure_again(one, data, measured, say, episodes)) for one in chosen]

        def show(row: benchmark.Row) -> None:
            if as_json:
                print_line(asdict(row))
            else:
                say(f"{row.meta_model} {row.n_way}w{row.n_shot}s {row.curve} {row.x:g}: {row.accuracy} ± {row.ci95}")

        with err.status("measuring …") as status:
            spent = benchmark.run(chosen, partial(load_splits, data), measured, show, episodes, curves, status.update)
        picture = page.parent / "plots" / "accuracy.png"
        known = costs.record(kept := log.with_name(costs.FILE), spent)
        report.write([p.manifest for p in Catalogue()] + report.measured_only(), measured.rows, known, page, picture)
        say(f"written: {page}, {picture}, {log}, {kept}")
