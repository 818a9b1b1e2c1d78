"""Features along the directions that tell training classes apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from meta_models.algorithms.discriminant import directions
from meta_models.algorithms.protonet import DIRECTIONS
from meta_models.datasets import ClassPool
from meta_models.manifest import META_PARAMS_FILE
from meta_models.publish import export
from meta_models.serving import ServedModel
from meta_models.settle import settled
from meta_models.torch_model import TorchModel, build_algorithm
from tests.meta_models.test_algorithms import SHAPE, a_recipe, a_training

RECIPE = a_recipe({"name": "protonet", "discriminant": 40}).model_copy(
    update={"backbone": {"name": "conv4", "width": 64}}
)


@pytest.fixture
def model() -> TorchModel:
    torch.manual_seed(1)
    algorithm = build_algorithm(RECIPE.algorithm, RECIPE.backbone, SHAPE)
    return TorchModel(algorithm, algorithm.init())


def test_what_scatters_within_classes_counts_less() -> None:
    """Classes differ along the second axis; their examples scatter ten times as much along the first."""
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(30), 20)
    own = np.stack([np.zeros(30), rng.normal(size=30), np.zeros(30)], 1)[classes]
    features = torch.from_numpy(own + rng.normal(size=(600, 3)) * [3.0, 0.3, 0.3] + 7)
    centre, found = directions(features, torch.from_numpy(classes), 1)
    assert centre.numpy() == pytest.approx(7, abs=0.7)
    axis = found[:, 0].abs() / found.norm()
    assert axis.argmax() == 1
    assert axis[1] > 0.9


def test_no_more_directions_than_dimensions() -> None:
    with pytest.raises(ValueError, match="4 directions in features of 3 dimensions"):
        directions(torch.zeros(6, 3), torch.arange(6) % 2, 4)


def spread(features: NDArray[np.float32], n_classes: int) -> float:
    """Variance between classes as a share of all, of features of unit length, class by class."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    means = unit.reshape(n_classes, -1, unit.shape[1]).mean(1)
    return float(means.var(0).sum() / unit.var(0).sum())


def test_classes_stand_further_apart(model: TorchModel, pool: ClassPool) -> None:
    after = settled(model, None, RECIPE, (pool,)).features(pool.inputs)
    assert after.shape[1] == 40
    assert spread(after, pool.n_classes) > spread(model.features(pool.inputs), pool.n_classes)


@pytest.mark.parametrize("small_body", [False, True])
def test_the_graph_has_them(model: TorchModel, pool: ClassPool, tmp_path: Path, small_body: bool) -> None:
    """With `small_body` they are in the graph alone, in eight bits."""
    after = settled(model, None, RECIPE, (pool,))
    manifest = export(after, RECIPE.model_copy(update={"small_body": small_body}), a_training(), tmp_path)
    served = ServedModel(tmp_path, manifest)
    ours, theirs = after.features(pool.inputs[:9]), served.features(pool.inputs[:9])
    assert theirs == pytest.approx(ours, abs=0.05 * float(np.abs(ours).max()) if small_body else 1e-4)
    loaded = TorchModel.load(tmp_path, manifest)
    assert (DIRECTIONS in loaded.meta_params) is not small_body
    assert loaded.features(pool.inputs[:9]) == pytest.approx(theirs, abs=1e-4)
    assert manifest.adapted_tensors == {"prototypes": ("n_way", 40)}
    assert ((tmp_path / META_PARAMS_FILE).stat().st_size < 500) is small_body
