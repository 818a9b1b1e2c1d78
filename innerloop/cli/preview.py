"""`preview`: what a meta-model sees of files and texts, in the terminal; no server is asked."""

from __future__ import annotations

from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from innerloop.cli.console import AsJson, ExitCode, friendly, out, print_json
from innerloop.cli.examples import given
from innerloop.cli.take import own_meta_models

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console
    from rich.text import Text

SHADES = " ░▒▓█"
"""From dark to light, where there are no colours."""


def register(app: typer.Typer) -> None:
    app.command()(preview)


def preview(
    files: Annotated[list[str], typer.Argument(metavar="FILES...", help="Files or texts.")],
    meta_model: Annotated[
        str | None, typer.Option(help="A published name or alias; default: the best of each input's kind.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write pictures to this folder, as PNG.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a meta-model sees of files or texts, without a server; exit code 3 where some could not be read."""
    from innerloop.seen import look
    from meta_models.catalogue import Catalogue, UnknownMetaModelError
    from meta_models.inputs import UnreadableInput
    from meta_models.manifest import ManifestError

    results: list[dict[str, Any]] = []
    with friendly(UnknownMetaModelError, ManifestError, ValueError, OSError):
        catalogue, inputs = Catalogue(own_meta_models()), given(files)
        taken = {one.content.resolve() for one in inputs if isinstance(one.content, Path)}
        if save is not None:
            save.mkdir(parents=True, exist_ok=True)
        for one in inputs:
            seen, error = None, one.error
            if one.content is not None:
                try:
                    seen = look(catalogue, one.content, meta_model)
                except UnreadableInput as broken:
                    error = {"code": broken.code, "detail": str(broken)}
            picture, result = None, {"error": error}
            if seen is not None:
                picture, result = seen.preview.pixels, {"meta_model": seen.meta_model, "words": seen.preview.words}
                if save is not None and picture is not None:
                    path = _free(save, Path(one.name).stem, taken)
                    path.write_bytes(seen.preview.png())
                    result["picture"] = str(path)
            results.append({"file": one.name, **result})
            if not as_json:
                _show(results[-1], picture)
    if as_json:
        print_json(results)
    if any("error" in result for result in results):
        raise typer.Exit(ExitCode.SOME_UNREADABLE)


def drawn(pixels: NDArray[np.uint8], console: Console) -> Text:
    """(height, width[, 3]) as characters, two pixels above one another in each; shrunk to the width of the console."""
    import numpy as np
    from PIL import Image
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    picture = Image.fromarray(pixels).convert("RGB")
    if picture.width > console.width:
        size = (console.width, max(1, round(picture.height * console.width / picture.width)))
        picture = picture.resize(size, Image.Resampling.BOX)
    rows = np.asarray(picture)
    rows = np.pad(rows, ((0, len(rows) % 2), (0, 0), (0, 0)))
    plain = console.color_system is None or console.no_color
    text = Text(no_wrap=True, end="")
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            if plain:
                text.append(SHADES[(sum(above) + sum(below)) * len(SHADES) // (6 * 256)])
            else:
                text.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        text.append("\n")
    return text


def _show(result: dict[str, Any], picture: NDArray[np.uint8] | None) -> None:
    from rich.text import Text

    error, path = result.get("error"), result.get("picture")
    about = (f"  {error['code']}", "red") if error else (f"  {result['meta_model']}", "dim")
    out.print(Text.assemble((result["file"], "bold"), about), soft_wrap=True)
    if picture is not None:
        out.print(drawn(picture, out), end="")
    out.print(Text(error["detail"] if error else result["words"]), soft_wrap=True)
    if path:
        out.print(Text(path, "dim"), soft_wrap=True)


def _free(folder: Path, stem: str, taken: set[Path]) -> Path:
    """A name that no input of this call has where it lies in that folder, nor what was saved of another."""
    names = chain([stem], (f"{stem}-{n}" for n in count(2)))
    path = next(path for name in names if (path := folder / f"{name}.preview.png").resolve() not in taken)
    taken.add(path.resolve())
    return path
