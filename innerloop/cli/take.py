"""`export`: a model, or a meta-model with its adaptation, as a file that works without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from innerloop.cli.console import AsJson, err, fail, friendly, out, print_json
from innerloop.cli.data import EXPECTED, Key, Url, Version, as_version, connect, model_id
from innerloop.cli.server import settings_of
from innerloop.client import DEFAULT_URL


def register(app: typer.Typer) -> None:
    app.command()(export)


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    model: Annotated[str | None, typer.Argument(callback=model_id, help="Model id.")] = None,
    format: Annotated[str | None, typer.Option(help="onnx or safetensors; default: by the file's name.")] = None,
    adapting: Annotated[
        str | None, typer.Option(metavar="META_MODEL", help="Export this meta-model as one graph that adapts itself.")
    ] = None,
    inner_steps: Annotated[int | None, typer.Option(help="Steps that an adapting graph takes.")] = None,
    inner_lr: Annotated[float | None, typer.Option(help="Their size.")] = None,
    version: Version = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Write a model as ONNX or safetensors, or with --adapting a meta-model that adapts without a server.

    The server compares an export with its own answers first. An adapting graph is made on this machine, which
    needs the `train` extra, and compared with torch.
    """
    if (model is None) == (adapting is None):
        raise typer.BadParameter("give a model id, or --adapting META_MODEL")
    if adapting is None and (inner_steps, inner_lr) != (None, None):
        raise typer.BadParameter("a model is adapted already; --inner-steps and --inner-lr are for --adapting")
    if adapting is not None and (version is not None or format not in (None, "onnx")):
        raise typer.BadParameter("an adapting export is ONNX and of no model; leave --version and --format out")
    if adapting is not None:
        report = _export_adapting(adapting, output, inner_steps, inner_lr)
    else:
        assert model is not None  # noqa: S101 - for the type checker
        chosen = format or output.suffix.removeprefix(".")
        if not format and chosen not in ("onnx", "safetensors"):
            raise typer.BadParameter("a file's name ends with .onnx or .safetensors, or --format says what it is")
        if chosen not in ("onnx", "safetensors"):
            raise typer.BadParameter(f"formats are onnx and safetensors, not {chosen!r}", param_hint="--format")
        with friendly(*EXPECTED), connect(url, key) as client:
            data = client.export(model, chosen, version=as_version(version))
            output.write_bytes(data)
        report = {"file": str(output), "bytes": len(data), "format": chosen, "model": model}
    if as_json:
        print_json(report)
    else:
        out.print(Text.assemble((report["file"], "bold"), f"  {report['bytes'] / 1024:.0f} KB"), soft_wrap=True)


def _export_adapting(name: str, output: Path, inner_steps: int | None, inner_lr: float | None) -> dict[str, Any]:
    from meta_models.catalogue import Catalogue, UnknownMetaModelError

    try:
        import torch

        from meta_models.export_adapting import export_adapting
    except ImportError as error:
        raise fail(
            f"an adapting export is made with torch and onnx: pip install 'innerloop[train]' ({error})"
        ) from error
    from meta_models.algorithms import InnerSettings
    from meta_models.decompositions import NotDecomposableError
    from meta_models.manifest import ManifestError
    from meta_models.publish import PublishError
    from meta_models.threads import all_but_one
    from meta_models.torch_model import TorchModel

    torch.set_num_threads(all_but_one())
    with friendly(UnknownMetaModelError, ManifestError, NotDecomposableError, PublishError, ValueError, OSError):
        published = Catalogue(own_meta_models()).resolve(name)
        model = TorchModel.load(published.folder, published.manifest)
        inner = model.algorithm.inner
        if inner is not None:
            inner = InnerSettings(
                inner.inner_steps if inner_steps is None else inner_steps,
                inner.inner_lr if inner_lr is None else inner_lr,
            )
        elif inner_steps is not None or inner_lr is not None:
            raise fail(f"{published.manifest.reference} adapts without an inner loop")
        with err.status(f"tracing {published.manifest.reference} with its inner loop …"):
            made = export_adapting(model, published.manifest, inner)
        output.write_bytes(made.data)
    return {
        "file": str(output),
        "bytes": len(made.data),
        "format": "onnx",
        "meta_model": published.manifest.reference,
        "inner_steps": inner.inner_steps if inner else None,
        "parity": made.parity.model_dump(),
    }


def own_meta_models() -> Path | None:
    """The folder of one's own meta-models, as the settings name it.

    Raises:
        ValueError: a setting is malformed; names it.
    """
    return settings_of().meta_models_dir
