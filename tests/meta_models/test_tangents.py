"""Prototypes that lose what turns and shears of an only example change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from meta_models.algorithms import tangents
from meta_models.algorithms.protonet import ProtoNet
from meta_models.catalogue import ZOO
from meta_models.datasets import ClassPool
from meta_models.decompositions import NotDecomposableError
from meta_models.export_adapting import export_adapting
from meta_models.manifest import read_manifest
from meta_models.serving import ServedModel
from meta_models.serving_path import ServingPath
from meta_models.torch_model import TorchModel

FOLDER = ZOO / "omniglot-protonet"


@pytest.fixture(scope="module")
def model() -> TorchModel:
    plain = TorchModel.load(FOLDER, read_manifest(FOLDER))
    assert isinstance(plain.algorithm, ProtoNet)
    return replace(plain, algorithm=replace(plain.algorithm, tangents=True))


def test_views_are_turned_and_sheared_either_way() -> None:
    rng = np.random.default_rng(0)
    blurred = Image.fromarray(rng.integers(0, 255, (7, 7), np.uint8)).resize((28, 28), Image.Resampling.BICUBIC)
    picture = torch.from_numpy(np.array(blurred, np.float32) / 255)[None, None]
    seen = tangents.views(picture)[0, :, 0].numpy()
    inside = np.s_[6:-6, 6:-6]
    for view, angle in zip(seen[:2], (15, -15), strict=True):
        turned = np.array(blurred.rotate(angle, Image.Resampling.BILINEAR), np.float32) / 255
        np.testing.assert_allclose(view[inside], turned[inside], atol=0.03)
    for view, shear in zip(seen[2:], (tangents.SHEAR, -tangents.SHEAR), strict=True):
        middle = 13.5
        affine = (1, shear, -shear * middle, 0, 1, 0)
        sheared = np.array(blurred.transform((28, 28), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR))
        np.testing.assert_allclose(view[inside], sheared[inside] / 255, atol=0.05)


def test_what_is_taken_away_is_ridge_regression_on_the_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    prototypes, differences = torch.randn(3, 50, generator=generator), torch.randn(8, 50, generator=generator)
    metric = torch.eye(50) + tangents.STRENGTH * differences.T @ differences
    found = tangents.without(prototypes, differences)
    torch.testing.assert_close(found, torch.linalg.solve(metric, prototypes.T).T, rtol=0, atol=1e-3)


def test_only_examples_alone_in_their_class_are_seen_in_views(model: TorchModel, pool: ClassPool) -> None:
    labels = np.array([0, 1, 1, 2])
    inputs = pool.inputs[:4]
    seen = model.support_features(inputs, labels)
    assert seen.shape == (4, 1 + tangents.N_VIEWS, 64)
    np.testing.assert_array_equal(seen[:, 0], model.features(inputs))
    differs = (seen[:, 1:] != seen[:, :1]).any((1, 2))
    np.testing.assert_array_equal(differs, [True, False, False, True])
    assert model.support_features(inputs, np.array([0, 0, 1, 1])).ndim == 2
    every = model.support_features(inputs)
    np.testing.assert_allclose(every[[0, 3]], seen[[0, 3]], atol=1e-5)
    adapted, same = (model.adapt(features, labels, 3)["prototypes"] for features in (seen, every))
    np.testing.assert_allclose(adapted, same, atol=1e-5)


def test_copies_of_an_only_example_leave_it_alone(model: TorchModel, pool: ClassPool) -> None:
    once, labels = pool.inputs[::12][:4], np.arange(4)
    rows = np.array([0, 0, 1, 2, 2, 2, 3])
    plain = model.adapt(model.support_features(once, labels), labels, 4)["prototypes"]
    seen = model.support_features(once[rows], labels[rows])
    np.testing.assert_allclose(model.adapt(seen, labels[rows], 4)["prototypes"], plain, atol=1e-5)
    another = np.concatenate([once[rows], pool.inputs[1:2]])
    seen, of = model.support_features(another, np.append(rows, 0)), np.append(rows, 0)
    assert (seen[of == 0, 1:] == seen[of == 0, :1]).all()
    assert np.abs(model.adapt(seen, of, 4)["prototypes"] - plain).max() > 1e-3


def test_prototypes_have_next_to_nothing_left_along_the_differences(model: TorchModel, pool: ClassPool) -> None:
    inputs, labels = pool.inputs[::12][:5], np.arange(5)
    seen = model.support_features(inputs, labels)
    unit = seen / np.linalg.norm(seen, axis=-1, keepdims=True)
    along = (unit[:, 1:] - unit[:, :1]).reshape(-1, 64)
    plain = model.adapt(model.features(inputs), labels, 5)["prototypes"]
    found = model.adapt(seen, labels, 5)["prototypes"]
    assert np.abs(found @ along.T).mean() < 0.2 * np.abs(plain @ along.T).mean()


def test_of_several_examples_nothing_is_taken_away(model: TorchModel, pool: ClassPool) -> None:
    inputs, labels = pool.inputs[:6], np.array([0, 0, 1, 1, 2, 2])
    features = model.features(inputs)
    plain = model.adapt(features, labels, 3)["prototypes"]
    np.testing.assert_array_equal(model.adapt(model.support_features(inputs, labels), labels, 3)["prototypes"], plain)
    np.testing.assert_array_equal(model.adapt(model.support_features(inputs), labels, 3)["prototypes"], plain)


def test_the_graphs_are_seen_in_the_same_views(model: TorchModel, pool: ClassPool) -> None:
    path = ServingPath(ServedModel(FOLDER), model)
    inputs, labels = pool.inputs[::12][:5], np.arange(5)
    here, there = (one.support_features(inputs, labels) for one in (path, model))
    np.testing.assert_allclose(here, there, atol=1e-4)
    adapted = path.adapt(here, labels, 5)
    np.testing.assert_array_equal(path.logits(adapted, here), path.logits(adapted, path.features(inputs)))
    np.testing.assert_array_equal(model.logits(adapted, there), model.logits(adapted, model.features(inputs)))


def test_there_is_no_graph_that_adapts_to_views(model: TorchModel) -> None:
    with pytest.raises(NotDecomposableError, match=r"omniglot-protonet@\d+ has no adapting export: .* views"):
        export_adapting(model, read_manifest(FOLDER))


def test_squared_distances_have_no_tangents() -> None:
    with pytest.raises(ValueError, match="tangents"):
        ProtoNet(torch.nn.Identity(), metric="euclidean", tangents=True)
