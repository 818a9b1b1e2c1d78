"""Turns trained meta_params into a published folder, and refuses where the ONNX graphs disagree with torch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
from safetensors.torch import save

from meta_models.algorithms import Tensors
from meta_models.algorithms.protocol import CapsSteps
from meta_models.benchmark import CardSetting
from meta_models.eight_bits import with_eight_bit_weights
from meta_models.graphs import body_graph, head_graph, symbolic_shapes
from meta_models.inputs import TextSpec
from meta_models.manifest import (
    BODY_FILE,
    HEAD_FILE,
    MANIFEST_FILE,
    META_PARAMS_FILE,
    InnerLoop,
    Manifest,
    Training,
    read_manifest,
    sha256,
)
from meta_models.measures import softmax
from meta_models.recipe import Recipe
from meta_models.same_run import locked
from meta_models.serving import BodyGraph, ServedModel
from meta_models.torch_model import TorchModel

PARITY = 1e-4
"""Largest difference between ONNX and torch probabilities that a published folder may show."""
ALIKE = 0.995
"""Smallest cosine between a feature of a body in eight bits and torch's: convolutional networks show 0.9996 and more,
all-MiniLM-L6-v2 0.998."""


class PublishError(RuntimeError):
    """The folder must not be published; the message says why."""


def export(
    model: TorchModel, recipe: Recipe, training: Training, folder: Path, *, body: Path | None = None
) -> Manifest:
    """Write weights, graphs and a manifest without figures, and check ONNX against torch.

    `body` is a graph that serves as it is, where there is none in torch to make it from.

    Raises:
        PublishError: the graphs differ from torch by more than `PARITY`, or a body in eight bits by `ALIKE`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    params = {  # in one order, whether trained just now or read back: the graphs are the same to the byte
        name: t.detach().float().cpu().contiguous()
        for name, t in sorted(model.meta_params.items())
        if not name.startswith("outer.")
    }
    model.algorithm.backbone.cpu()
    model = TorchModel(model.algorithm, params, graph=BodyGraph(body, recipe.input) if body else None)
    (folder / META_PARAMS_FILE).write_bytes(save(_kept(params, recipe)))  # save_file's would be its owner's alone
    shapes = symbolic_shapes(model, recipe)
    if isinstance(recipe.input, TextSpec):
        shutil.copyfile(_folder(recipe.input) / recipe.input.tokenizer, folder / recipe.input.tokenizer)
    if body:
        shutil.copyfile(body, folder / BODY_FILE)
    elif model.shares_body:
        onnx.save(body_graph(model, recipe), folder / BODY_FILE)
    onnx.save(head_graph(model, recipe, shapes), folder / HEAD_FILE)
    manifest = Manifest(
        name=recipe.name,
        version=recipe.version,
        description=recipe.description,
        algorithm=recipe.algorithm,
        backbone=recipe.backbone,
        input=recipe.input,
        inner_loop=_inner_loop(model),
        shares_body=model.shares_body,
        adapted_tensors=shapes,
        calibration=(),
        benchmarks=(),
        training=training,
        files=_hashes(folder),
    )
    check_parity(ServedModel(folder, manifest), model)
    if recipe.small_body:
        onnx.save(with_eight_bit_weights(onnx.load(folder / BODY_FILE)), folder / BODY_FILE)
        manifest = manifest.model_copy(update={"files": _hashes(folder)})
        check_small_body(ServedModel(folder, manifest), model)
    return manifest


def check_parity(served: ServedModel, model: TorchModel, n_draws: int = 5) -> float:
    """Largest difference of probabilities between the graphs and torch, over random episodes.

    Raises:
        PublishError: it exceeds `PARITY`.
    """
    rng, worst = np.random.default_rng(0), 0.0
    for n_way, n_support, n_query in [(2, 3, 1), (5, 25, 7), (20, 20, 40), (60, 60, 3), (5, 5, 33)][:n_draws]:
        classes = np.arange(n_support + n_query) % n_way
        inputs = served.manifest.input.examples(rng, classes)
        labels = classes[:n_support]
        adapted = model.adapt(model.support_features(inputs[:n_support], labels), labels, n_way)
        query = inputs[n_support:]
        there = softmax(model.logits(adapted, model.features(query)))
        here = softmax(served.logits(adapted, served.features(query)))
        worst = float(np.maximum(worst, np.abs(here - there).max()))  # which keeps NaN
    if not worst <= PARITY:
        raise PublishError(
            f"{served.manifest.name}: ONNX and torch probabilities differ by {worst:.2e}, more than {PARITY:.0e}; "
            "the graphs would not serve what was trained"
        )
    return worst


def check_small_body(served: ServedModel, model: TorchModel) -> float:
    """Smallest cosine between features of the served graph and torch's, over made-up examples.

    Raises:
        PublishError: it is below `ALIKE`.
    """
    inputs = served.manifest.input.examples(np.random.default_rng(0), np.arange(60) % 20)
    both = served.features(inputs), model.features(inputs)
    here, there = (f.reshape(len(f), -1) if f.ndim == 4 else f.reshape(-1, f.shape[-1]) for f in both)  # maps, vectors
    lengths = np.linalg.norm(here, axis=1) * np.linalg.norm(there, axis=1)
    some = lengths != 0  # NaN is not nothing
    worst = float(((here * there).sum(1)[some] / lengths[some]).min(initial=1))
    if not worst >= ALIKE:
        raise PublishError(
            f"{served.manifest.name}: features of the body in eight bits have a cosine of {worst:.4f} to torch's, "
            f"less than {ALIKE}; leave small_body out"
        )
    return worst


def _kept(params: Tensors, recipe: Recipe) -> Tensors:
    """What goes into the safetensors: with `small_body`, all but the backbone, which is in the body's graph."""
    return {name: t for name, t in params.items() if not (recipe.small_body and name.startswith("backbone."))}


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted(folder.iterdir())}


def _folder(spec: TextSpec) -> Path:
    if spec.folder is None:
        raise PublishError(f"{spec.tokenizer} was not found; the recipe names no encoder to begin from")
    return spec.folder


def write_manifest(manifest: Manifest, folder: Path, settings: Iterable[CardSetting] = ()) -> None:
    """What makes a folder a published one; `settings` are where its card must give an accuracy.

    Raises:
        PublishError: the card lacks figures or calibration.
    """
    if not manifest.benchmarks or not manifest.calibration:
        raise PublishError(f"{manifest.name}: a card without measured accuracy and calibration is not published")
    measured = {CardSetting(f.protocol, f.n_way, f.n_shot, f.n_query) for f in manifest.benchmarks}
    if missing := [one for one in settings if one not in measured]:
        protocol, n_way, n_shot, _ = missing[0]
        raise PublishError(
            f"{manifest.name}: its card lacks the accuracy of {len(missing)} settings that its test classes have, the "
            f"first {n_way}w{n_shot}s of {protocol}; it is not published"
        )
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1) + "\n")


def check_zoo(zoo: Path) -> None:
    """Whether something may be published in `zoo`, which need not be there: to find out before hours of training.

    Raises:
        PublishError: it, or what it would be in, is no folder or cannot be written.
    """
    there = next(path for path in (zoo, *zoo.absolute().parents) if path.exists())
    if not there.is_dir():
        raise PublishError(f"{there} is no folder, so nothing can be published in {zoo}: give --zoo another")
    if not os.access(there, os.W_OK):
        raise PublishError(f"{there} cannot be written, so nothing can be published in {zoo}: give --zoo another")


def publish_in(
    zoo: Path, manifest: Manifest, made: Path, settings: Iterable[CardSetting], say: Callable[[str], None]
) -> Manifest:
    """`put_in_place` as `zoo/<name>`, under its `next_version`, which is returned with it; raises what they do.

    Waits until no other process publishes in `zoo`: two would give one version to different weights, and write the same
    folder beside.
    """
    with locked(zoo):
        manifest = next_version(manifest, zoo / manifest.name, say)
        put_in_place(manifest, made, zoo / manifest.name, settings)
    return manifest


def put_in_place(manifest: Manifest, made: Path, folder: Path, settings: Iterable[CardSetting]) -> None:
    """The last step of publishing: `made` in the place of `folder` whole; what was there before is there until now, and
    beside it, its name beginning with a dot, should the process end in between: who publishes next puts it back first.
    `settings` as for `write_manifest`.

    Raises:
        PublishError: the card lacks figures or calibration.
        ManifestError: the copy is not whole; what was there stays.
    """
    write_manifest(manifest, made, settings)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(made, beside)
    read_manifest(beside)
    before = _put_back(folder)
    shutil.rmtree(before, ignore_errors=True)
    if folder.exists():
        folder.rename(before)
    beside.rename(folder)
    shutil.rmtree(before, ignore_errors=True)


def next_version(manifest: Manifest, folder: Path, say: Callable[[str], None]) -> Manifest:
    """The manifest under the version to publish it as in `folder`: a later one than is there, if it answers otherwise.

    Adapted models name the version that they came from, and answer with its graphs, algorithm, inner loop and
    calibration.
    """
    _put_back(folder)
    try:
        there = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except (FileNotFoundError, ValueError):  # nothing, or nothing that could be served
        return manifest
    files = (META_PARAMS_FILE, BODY_FILE, HEAD_FILE)
    compared = {
        "other weights": all(there.files.get(file) == manifest.files.get(file) for file in files),
        "another inner loop": there.inner_loop == manifest.inner_loop,
        "another calibration": there.calibration == manifest.calibration,
        "another algorithm": there.algorithm == manifest.algorithm,
    }
    other = " and ".join(what for what, same in compared.items() if not same)
    version = max(manifest.version, there.version + bool(other))
    if version > manifest.version:
        say(f"{folder} holds {there.reference}{other and f' of {other}'}: this one is version {version}")
    return manifest.model_copy(update={"version": version})


def _put_back(folder: Path) -> Path:
    """Where what `folder` holds goes meanwhile; what is there of a publishing that ended in between comes back."""
    before = folder.with_name(f".{folder.name}.old")
    if before.exists() and not folder.exists():
        before.rename(folder)
    return before


def _inner_loop(model: TorchModel) -> InnerLoop | None:
    inner = model.algorithm.inner
    if inner is None:
        return None
    caps = {"max_inner_steps": model.algorithm.max_steps} if isinstance(model.algorithm, CapsSteps) else {}
    return InnerLoop(inner_steps=inner.inner_steps, inner_lr=inner.inner_lr, **caps)
