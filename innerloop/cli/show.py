"""`demo`: the whole service on real handwriting in one command."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from innerloop.cli.console import AsJson, err, friendly, new_table, out, print_json, print_table
from innerloop.cli.data import EXPECTED, Key
from innerloop.cli.server import settings_of
from innerloop.client import DEFAULT_URL


def register(app: typer.Typer) -> None:
    app.command()(demo)


class Kind(StrEnum):
    DRAWINGS = "drawings"
    PHOTOS = "photos"
    TEXT = "text"
    VECTORS = "vectors"
    SOUNDS = "sounds"


PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".pdf", ".svg")


def _drawable(picture: Path) -> Path:
    """Where a picture can be written: that is told before a demo has played, not after.

    Raises:
        typer.BadParameter: it cannot, by its folder or its suffix.
    """
    if not picture.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {picture.parent}")
    if picture.suffix.lower() not in PICTURES:
        raise typer.BadParameter(f"a picture's name ends with {', '.join(PICTURES)}, not {picture.name!r}")
    return picture


Picture = Annotated[Path, typer.Option(callback=_drawable, help="Where the picture goes.")]


def demo(
    of: Annotated[Kind, typer.Argument(help="What is classified.")] = Kind.DRAWINGS,
    picture: Picture = Path("innerloop-demo.png"),
    rounds: Annotated[int, typer.Option(min=2, help="Support sets tried.")] = 20,
    url: Annotated[str | None, typer.Option(envvar="INNERLOOP_URL", help="A started server; else its own.")] = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Few-shot: handwritten digits with a picture, patches of photographs, tables or texts beside logistic regression,
    sounds in noise."""
    from rich.progress import track

    if of is not Kind.DRAWINGS:
        others = {Kind.PHOTOS: _photos, Kind.SOUNDS: _sounds, Kind.TEXT: _texts, Kind.VECTORS: _vectors}
        others[of](rounds, url, key, as_json=as_json)
        return
    from innerloop.client import Client
    from innerloop.demo import Digits, draw, play
    from innerloop.embedded import ServeError
    from innerloop.wording import half_width

    with friendly(*EXPECTED, ServeError), _server(url) as where, Client(where, key) as client:
        import numpy as np

        digits = Digits()
        played = [play(client, digits, seed) for seed in track(range(rounds), "adapting and asking", console=err)]
        scores = np.array([r.right.mean() for r in played])
        accuracy, ci = 100 * scores.mean(), half_width(100 * scores)
        adapt_ms, predict_ms = np.median([r.adapt_ms for r in played]), np.median([r.predict_ms for r in played])
        line = f"10-way 5-shot on handwritten digits: {accuracy:.1f} ± {ci:.1f}% over {rounds} support sets"
        speed = f"adapt {adapt_ms:.0f} ms, one query {predict_ms:.1f} ms (medians, through HTTP)"
        draw(digits, played[0], f"{line}\n{speed}", picture)
        if as_json:
            figures = {"accuracy": accuracy, "ci95": ci, "rounds": rounds}
            medians = {"adapt_ms": adapt_ms, "predict_ms": predict_ms}
            print_json({k: float(v) for k, v in {**figures, **medians}.items()} | {"picture": str(picture.resolve())})
            return
        out.print(Text.assemble((line, "bold"), f"\n{speed}"))
        out.print(f"picture: {picture.resolve()}", soft_wrap=True, highlight=False)


def _photos(rounds: int, url: str | None, key: str | None, *, as_json: bool) -> None:
    from rich.progress import track

    from innerloop.client import Client
    from innerloop.demo_photos import N_QUERY, PHOTOGRAPHS, SHOTS, photographs, play
    from innerloop.embedded import ServeError
    from innerloop.wording import figure

    with friendly(*EXPECTED, ServeError), _server(url) as where, Client(where, key) as client:
        shown = photographs()
        cells = [play(client, shown, n_shot, rounds) for n_shot in track(SHOTS, "adapting and asking", console=err)]
    if as_json:
        print_json(
            [
                {"n_shot": c.n_shot, "rounds": rounds, "innerloop": figure(c.ours), "mean_colour": figure(c.colours)}
                for c in cells
            ]
        )
        return
    table = new_table("patches a class", "Innerloop, %", "nearest mean colour, %")
    for cell in cells:
        ours, colours = cell.worded()
        table.add_row(str(cell.n_shot), Text(ours, "bold"), colours)
    print_table(table)
    of = (
        f"patches of {len(PHOTOGRAPHS)} photographs ({', '.join(PHOTOGRAPHS)}): adapted to the left halves, asked about"
    )
    how = f"right ones; means over {rounds} support sets with 95% intervals, {N_QUERY} queries a class"
    out.print(f"{of} {how}", style="dim", highlight=False)


def _vectors(rounds: int, url: str | None, key: str | None, *, as_json: bool) -> None:
    from functools import partial

    from rich.progress import track

    from innerloop import FewShotClassifier
    from innerloop.demo_vectors import SHOTS, TABLES, play
    from innerloop.embedded import ServeError
    from innerloop.wording import figure

    with friendly(*EXPECTED, ServeError), _server(url) as where:
        make = partial(FewShotClassifier, url=where, api_key=key, ttl_seconds=60)
        settings = [(table, n_shot) for table in TABLES for n_shot in SHOTS]
        cells = [play(make, *s, rounds) for s in track(settings, "adapting and asking", console=err)]
    if as_json:
        print_json(
            [
                {
                    **{"table": c.table, "n_shot": c.n_shot, "rounds": rounds},
                    **{"innerloop": figure(c.ours), "logistic_regression": figure(c.theirs)},
                }
                for c in cells
            ]
        )
        return
    table = new_table("table", "examples a class", "Innerloop, %", "logistic regression, %")
    for cell in cells:
        ours, theirs = cell.worded(lambda c: c.ours), cell.worded(lambda c: c.theirs)
        table.add_row(cell.table, str(cell.n_shot), Text(ours, "bold"), theirs)
    print_table(table)
    out.print(f"means over {rounds} support sets with 95% intervals, 20 queries a class", style="dim", highlight=False)


def _sounds(rounds: int, url: str | None, key: str | None, *, as_json: bool) -> None:
    from rich.progress import track

    from innerloop.client import Client
    from innerloop.demo_sounds import MAKERS, NOISES, SHOTS, play
    from innerloop.embedded import ServeError
    from innerloop.wording import figure

    with friendly(*EXPECTED, ServeError), _server(url) as where, Client(where, key) as client:
        rows = [play(client, n_shot, rounds) for n_shot in track(SHOTS, "adapting and asking", console=err)]
    if as_json:
        print_json(
            [
                {"n_shot": c.n_shot, "noise": c.noise, "rounds": rounds, "innerloop": figure(c.accuracy)}
                for cells in rows
                for c in cells
            ]
        )
        return
    headings = ["no noise" if not noise else f"noise at {noise:g} of the sound" for noise in NOISES]
    table = new_table("examples a class", *(f"{heading}, %" for heading in headings))
    for cells in rows:
        table.add_row(str(cells[0].n_shot), *(cell.worded() for cell in cells))
    print_table(table)
    kinds = f"{len(MAKERS)} kinds of made sounds ({', '.join(MAKERS)})"
    out.print(f"{kinds}, means over {rounds} support sets with 95% intervals", style="dim", highlight=False)


def _texts(rounds: int, url: str | None, key: str | None, *, as_json: bool) -> None:
    from functools import partial

    from rich.progress import track

    from innerloop import FewShotClassifier
    from innerloop.demo_texts import MESSAGES, SHOTS, play
    from innerloop.embedded import ServeError
    from innerloop.wording import figure, with_interval

    with friendly(*EXPECTED, ServeError), _server(url) as where:
        make = partial(FewShotClassifier, url=where, api_key=key, ttl_seconds=60)
        found = [play(make, n_shot, rounds) for n_shot in track(SHOTS, "adapting and asking", console=err)]
    if as_json:
        columns = ("innerloop", "labels_that_say_nothing", "logistic_regression")
        print_json(
            [
                {"n_shot": n_shot, "rounds": rounds, **dict(zip(columns, map(figure, scores.T), strict=True))}
                for n_shot, scores in zip(SHOTS, found, strict=True)
            ]
        )
        return
    headings = ("with class names, %", "labels that say nothing, %", "logistic regression on words, %")
    table = new_table("examples a class", *headings)
    for n_shot, scores in zip(SHOTS, found, strict=True):
        table.add_row(str(n_shot), *map(with_interval, scores.T))
    print_table(table)
    of = f"{len(MESSAGES)} kinds of message to a shop"
    out.print(f"{of}; means over {rounds} support sets with 95% intervals", style="dim", highlight=False)


@contextmanager
def _server(url: str | None) -> Generator[str]:
    """The given server, the one at the default address, or one of its own for as long as it takes."""
    import httpx

    if url is None:
        try:
            if httpx.get(f"{DEFAULT_URL}/readyz", timeout=2, trust_env=False).status_code == 200:
                url = DEFAULT_URL
        except httpx.HTTPError:
            pass
    if url is not None:
        yield url
        return
    from innerloop.embedded import Embedded

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of the contexts, so that nothing stays behind
    with tempfile.TemporaryDirectory(prefix="innerloop-demo-") as folder:
        err.print("no server found: starting one for this demo", style="dim")
        with Embedded(settings_of(host="127.0.0.1", port=0, data_dir=Path(folder))) as own:
            yield own.url
