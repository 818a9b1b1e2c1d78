"""From an encoder and a folder of classes to a published meta-model. The encoder stays as it is; its head is fitted."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from meta_models.benchmark import Subject, card_settings
from meta_models.calibrate import calibrate
from meta_models.catalogue import Published, why_no_name
from meta_models.datasets import ClassPool
from meta_models.encoders import EncoderError
from meta_models.encoders.body import Body, make_body, try_body
from meta_models.encoders.files import EncoderFiles
from meta_models.encoders.heads import Trial, centred, choose_head
from meta_models.encoders.reading import Options
from meta_models.inputs import TextSpec
from meta_models.manifest import Limits, Manifest, Training, sha256
from meta_models.own_classes import left_out, load_classes, part_of
from meta_models.produce import measure_figures
from meta_models.publish import export, publish_in
from meta_models.recipe import Data, Outer, Recipe
from meta_models.serving import Features, ServedModel, graph_session, run_body
from meta_models.serving_path import ServingPath
from meta_models.splits import Protocol
from meta_models.torch_model import TorchModel

SHARES = (1 / 3, 1 / 3, 1 / 3)
"""Of the classes, for the centre, for the choice of a head and for the card: the encoder learns nothing of them."""
MIN_CLASSES = 18
"""Six each: five-way episodes with a class to spare."""
MOST_EXAMPLES = 100
"""Read of each class: more say little more of a head, and each costs a pass through the encoder."""
N_EPISODES = 1000
"""Test episodes of each figure, unless told otherwise."""
MOST_SUPPORT = 256 * 2**20
"""Bytes of the largest support set of large pictures, which a process reads at once."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Card:
    """What the card says of where an encoder comes from; None leaves it to the encoder's files."""

    description: str | None = None
    licence: str | None = None
    source: str | None = None


AS_FILES_SAY, CARD_AS_FILES_SAY = Options(), Card()


def add_encoder(
    name: str,
    files: EncoderFiles,
    data: Path,
    *,
    zoo: Path,
    options: Options = AS_FILES_SAY,
    card: Card = CARD_AS_FILES_SAY,
    episodes: int = N_EPISODES,
    say: Say = print,
) -> Manifest:
    """Publish an encoder as the meta-model `zoo/<name>`.

    Args:
        name: of the meta-model; another that is there already under it gives this one the next version.
        files: the encoder.
        data: a folder of files for each class, or a CSV of text,label: at least 18 classes of at least 6 examples.
        zoo: where published meta-models are.
        options: how the encoder reads, where its files do not say.
        card: what is said of it.
        episodes: test episodes of each figure.
        say: told each stage in words.

    Raises:
        EncoderError: the encoder cannot serve, or the name is taken; the message says why.
        DataError: the classes cannot be used; the message lists what is wrong with them.
        PublishError: the published graphs disagree with torch.
    """
    if why := why_no_name(name):
        raise EncoderError(why)
    began = time.perf_counter()
    body = make_body(files, options)
    with tempfile.TemporaryDirectory(prefix="innerloop-encoder-") as made:
        graph = Path(made) / "encoder.onnx"
        onnx.save(body.graph, graph)
        try_body(graph, body.spec)
        say(f"{name}: {body.output} of {files.name}, {_shape(body)}; reading {data} through it")
        pools = _features(data, body, graph)
        if note := left_out(data):
            say(note)
        say(
            f"features of {len(pools[0].inputs)} examples; {pools[0].n_classes} classes to centre by, "
            f"{pools[1].n_classes} to choose by, {pools[2].n_classes} to report"
        )
        chosen = choose_head(pools[0], pools[1], body.spec.shape, say)
        say(f"chosen: {chosen.head}")
        onnx.save(body.centred(chosen.head.centre).graph, graph)
        folder = Path(made) / name
        recipe = _recipe(name, files, body, chosen, card)
        training = _training(files, pools, chosen, card, (time.perf_counter() - began) / 60)
        manifest = export(chosen.head.model(body.spec.shape), recipe, training, folder, body=graph)
        manifest = manifest.model_copy(update={"limits": _limits(body)})
        say("graphs agree with torch")
        path = _Computed(ServedModel(folder, manifest), TorchModel.load(folder, manifest))
        _, development, test = (centred(pool, chosen.head.centre) for pool in pools)
        manifest = manifest.model_copy(update={"calibration": calibrate(path, (development,), N_EPISODES, seed=2)})
        subject = Subject(Published(folder, manifest), _protocols(test), path)
        command = f"innerloop meta-models add {name} --encoder ENCODER --data {'CSV' if data.is_file() else 'FOLDER'}"
        manifest = manifest.model_copy(update={"benchmarks": measure_figures(subject, command, episodes, say)})
        manifest = publish_in(zoo, manifest, folder, card_settings(subject.protocols.values()), say)
    say(f"published {manifest.reference} in {zoo / name}")
    return manifest


@dataclass(frozen=True)
class _Computed(ServingPath):
    """The published graphs on features that the body gave already."""

    def features(self, inputs: NDArray[Any]) -> Features:
        return inputs


def _shape(body: Body) -> str:
    if isinstance(body.spec, TextSpec):
        return f"at most {body.spec.max_tokens} tokens"
    return f"pictures of {body.spec.size}x{body.spec.size}"


def _features(data: Path, body: Body, graph: Path) -> tuple[ClassPool, ClassPool, ClassPool]:
    """Of every example, a class at a time, in three parts.

    Raises:
        DataError: the classes cannot be used.
        EncoderError: features are not finite, or all the same.
    """
    session = graph_session(graph)
    pool = load_classes(data, body.spec, MIN_CLASSES, MOST_EXAMPLES, lambda rows: run_body(session, body.spec, rows))
    for name, rows in zip(pool.class_names, pool.class_examples, strict=True):
        if not np.isfinite(pool.inputs[rows]).all():
            raise EncoderError(f"the encoder gives NaN or infinity for examples of {name}")
    if np.ptp(pool.inputs.reshape(len(pool.inputs), -1), axis=0).max() < 1e-6:
        raise EncoderError("the encoder gives the same features for every example: is its normalisation the right one?")
    part = part_of(pool.class_names, SHARES)
    learn, choose, report = (pool.subset(part == number) for number in range(3))
    return learn, choose, report


def _protocols(test: ClassPool) -> list[Protocol]:
    """The classes that are reported; of texts a second time without their names."""
    found = [Protocol("own classes", test, 0.0)]
    if test.inputs.ndim == 3:
        bare = test.inputs.copy()
        bare[:, 1] = 0
        found.append(Protocol("own classes, names hidden", replace(test, inputs=bare), 0.0))
    return found


def _recipe(name: str, files: EncoderFiles, body: Body, chosen: Trial, card: Card) -> Recipe:
    kind = "Texts" if isinstance(body.spec, TextSpec) else "Photographs"
    return Recipe(
        name=name,
        description=card.description or f"{kind} as the encoder {files.name} sees them; its head was fitted here.",
        algorithm=chosen.head.algorithm,
        backbone={"name": "encoder", "n_features": len(chosen.head.centre)},
        input=body.spec,
        data=Data(name="folder"),
        episodes={"n_way": 5, "n_shot": 1, "n_query": 1},
        outer=Outer(steps=0),
    )


def _training(
    files: EncoderFiles, pools: tuple[ClassPool, ClassPool, ClassPool], chosen: Trial, card: Card, minutes: float
) -> Training:
    n_examples = sum(len(rows) for pool in pools[:2] for rows in pool.class_examples)
    tried = ", ".join(f"{accuracy}" for accuracy in chosen.accuracies)
    # Classes of one's own tell nothing of how it compares with other meta-models: no `development_accuracy`, no alias.
    return Training(
        recipe="innerloop meta-models add",
        data=f"{n_examples} examples of {pools[0].n_classes + pools[1].n_classes} classes of one's own, for the head; "
        f"the encoder {files.name} came trained",
        licence=card.licence or files.licence,
        source=card.source or files.source,
        steps=0,
        minutes=round(minutes, 1),
        hardware="CPU",
        notes=f"encoder sha256 {sha256(files.model)}; {chosen.head}, 5w1s and 5w5s on development classes: {tried}",
    )


def _limits(body: Body) -> Limits:
    usual = Limits()
    bytes_each = int(np.prod(body.spec.shape)) * np.dtype(body.spec.dtype).itemsize
    return usual.model_copy(update={"max_examples": min(usual.max_examples, MOST_SUPPORT // bytes_each)})
