"""`meta-models`: what a server can adapt, and `meta-models add`: an encoder of one's own among them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from innerloop.cli.console import AsJson, err, fail, friendly, new_table, out, print_json, print_table
from innerloop.cli.data import EXPECTED, Key, Url, connect
from innerloop.client import DEFAULT_URL

MetaModels = typer.Typer(no_args_is_help=False)


class Pooling(StrEnum):
    MEAN = "mean"
    FIRST = "first"


def register(app: typer.Typer) -> None:
    MetaModels.callback(invoke_without_command=True)(meta_models)
    MetaModels.command()(add)
    app.add_typer(MetaModels, name="meta-models")


def meta_models(context: typer.Context, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False) -> None:
    """List the published meta-models of a server; `add` makes one of an encoder."""
    if context.invoked_subcommand is not None:
        return
    with friendly(*EXPECTED), connect(url, key) as client:
        found = client.meta_models()
    if as_json:
        print_json(found)
        return
    table = new_table("meta-model", "alias", "algorithm", "inner steps", "accuracy, inductive (%)")
    table.columns[0].no_wrap = True
    for card in found:
        figures = ", ".join(
            f"{f['protocol']} {f['n_way']}w{f['n_shot']}s {f['accuracy']:.1f}±{f['ci95']:.1f}"
            for f in card["benchmarks"]
        )
        steps = card["inner_loop"]["inner_steps"] if card["inner_loop"] else "–"
        table.add_row(card["reference"], ", ".join(card["aliases"]), card["algorithm"], str(steps), figures)
    print_table(table)


def add(
    name: Annotated[str, typer.Argument(help="Name to publish under.")],
    encoder: Annotated[str, typer.Option(help="A folder, an ONNX file, or organisation/name on the Hugging Face hub.")],
    data: Annotated[Path, typer.Option(help="A folder of files for each class, or a CSV of text,label.")],
    file: Annotated[str | None, typer.Option(help="Which ONNX file of the folder or hub; default model.onnx.")] = None,
    revision: Annotated[str, typer.Option(help="Branch, tag or commit on the hub.")] = "main",
    downloads: Annotated[Path, typer.Option(help="Where downloads go.")] = Path("runs/encoders"),
    size: Annotated[int | None, typer.Option(help="Side of pictures; default: what the encoder's files say.")] = None,
    mean: Annotated[str | None, typer.Option(help="Of pixels in [0, 1]: one number, or three for R,G,B.")] = None,
    std: Annotated[str | None, typer.Option(help="Their standard deviation, likewise.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=4, max=512, help="Read of a text; default at most 128.")] = None,
    output: Annotated[str | None, typer.Option(help="Which output of the graph features are made of.")] = None,
    pooling: Annotated[Pooling | None, typer.Option(help="Of a vector for each token or place.")] = None,
    description: Annotated[str | None, typer.Option(help="One line for the card.")] = None,
    licence: Annotated[str | None, typer.Option(help="Of the encoder; default: what its README says.")] = None,
    source: Annotated[str | None, typer.Option(help="Where the encoder comes from, for the card.")] = None,
    zoo: Annotated[Path, typer.Option(help="Where to publish.")] = Path("meta-models"),
    episodes: Annotated[int, typer.Option(min=2, help="Test episodes a figure.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Make a meta-model of an image or text encoder, with a head fitted on your own classes.

    The encoder stays as it is. A third of the classes centre its features, a third choose the head and calibrate it, a
    third are reported on the card. It is made on this machine, which needs the `train` extra.
    """
    try:
        import torch

        from meta_models.encoders.publish import Card, add_encoder
    except ImportError as error:
        raise fail(f"a head is fitted with torch and onnx: pip install 'innerloop[train]' ({error})") from error
    from meta_models.datasets import DataError
    from meta_models.encoders import EncoderError
    from meta_models.encoders.files import find_encoder
    from meta_models.encoders.reading import Options
    from meta_models.publish import PublishError
    from meta_models.threads import all_but_one

    torch.set_num_threads(all_but_one())
    say = err if as_json else out
    with friendly(EncoderError, DataError, PublishError, ValueError, OSError):
        options = Options(
            size=size,
            mean=_triple(mean, "--mean"),
            std=_triple(std, "--std"),
            max_tokens=max_tokens,
            output=output,
            pooling=pooling.value if pooling else None,
        )
        manifest = add_encoder(
            name,
            find_encoder(encoder, file, revision=revision, cache=downloads),
            data,
            zoo=zoo,
            options=options,
            card=Card(description, licence, source),
            episodes=episodes,
            say=lambda text: say.print(text, highlight=False, soft_wrap=True),
        )
    say.print(f"serve it: INNERLOOP_META_MODELS_DIR={zoo} innerloop serve", highlight=False, soft_wrap=True)
    if as_json:
        print_json({"folder": str(zoo / manifest.name), **manifest.model_dump(mode="json")})


def _triple(text: str | None, option: str) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        raise typer.BadParameter(f"one number, or three with commas, not {text!r}", param_hint=option)
    return (numbers[0], numbers[len(numbers) // 2], numbers[-1])
