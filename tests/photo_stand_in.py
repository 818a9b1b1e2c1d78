"""A meta-model of photographs as small as can be, for as long as none is published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from meta_models import publish
from meta_models.calibrate import calibrate
from meta_models.datasets import ClassPool
from meta_models.episodes import EpisodeSpec
from meta_models.evaluate import evaluate
from meta_models.inputs import PhotoSpec
from meta_models.inputs.picture import preprocess
from meta_models.manifest import Figure, Manifest, Training
from meta_models.recipe import Data, Outer, Recipe
from meta_models.serving import ServedModel
from meta_models.serving_path import ServingPath
from meta_models.torch_model import TorchModel, build_algorithm
from tests.photos import scene

SPEC = PhotoSpec()


def publish_stand_in(zoo: Path) -> Manifest:
    """A random Conv4 in `zoo`: enough to tell scenes apart, and to follow photographs through the service."""
    torch.manual_seed(0)
    recipe = Recipe(
        name="photo-stand-in",
        version=1,
        description="Random filters.",
        algorithm={"name": "protonet", "metric": "cosine"},
        backbone={"name": "conv4", "width": 16},
        input=SPEC,
        data=Data(name="folder", split="classes"),
        episodes={"n_way": 5, "n_shot": 1, "n_query": 3},
        outer=Outer(steps=0, outer_lr=1e-3),
    )
    algorithm = build_algorithm(recipe.algorithm, recipe.backbone, SPEC.shape)
    model = TorchModel(algorithm, algorithm.init())
    training = Training(
        recipe="none", data="none", licence="none", source="none", steps=0, minutes=0, hardware="CPU",
        development_accuracy=1.0,
    )  # fmt: skip
    manifest = publish.export(model, recipe, training, zoo / recipe.name)
    path = ServingPath(ServedModel(zoo / recipe.name, manifest), model)
    n_classes, n_examples = 8, 12
    inputs = np.stack([preprocess(scene(c, e), SPEC) for c in range(n_classes) for e in range(n_examples)])
    labels = np.repeat(np.arange(n_classes), n_examples)
    pool = ClassPool.by_label(inputs, labels, np.arange(len(labels)))
    found = evaluate(path, pool, EpisodeSpec(5, 1, 3), 20, 0)
    figure = Figure(
        protocol="scenes", n_way=5, n_shot=1, n_query=3, accuracy=100 * found.mean, ci95=100 * found.ci95,
        episodes=20, seed=0, command="pytest",
    )  # fmt: skip
    measured = {"benchmarks": (figure,), "calibration": calibrate(path, (pool,), 20, 0)}
    manifest = manifest.model_copy(update=measured)
    publish.write_manifest(manifest, zoo / recipe.name)
    return manifest
