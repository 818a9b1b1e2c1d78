"""Bodies in eight bits: a fraction of the size, and nearly the same features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from meta_models import publish
from meta_models.backbones.equivariant import Equivariant
from meta_models.datasets import ClassPool
from meta_models.eight_bits import with_eight_bit_weights
from meta_models.onnx_export import computed_once, to_onnx
from meta_models.serving import ServedModel
from meta_models.spread_filters import only_once
from meta_models.torch_model import TorchModel, build_algorithm
from tests.meta_models.test_algorithms import BACKBONE, SHAPE, VARIANTS, a_recipe, a_training


@pytest.fixture(scope="module")
def model() -> TorchModel:
    torch.manual_seed(0)
    algorithm = build_algorithm(VARIANTS["protonet-cosine"], BACKBONE, SHAPE)
    return TorchModel(algorithm, algorithm.init())


def served(
    model: TorchModel, variant: str, folder: Path, small: bool, backbone: dict[str, Any] = BACKBONE
) -> ServedModel:
    recipe = a_recipe(VARIANTS[variant]).model_copy(update={"backbone": backbone, "small_body": small})
    return ServedModel(folder, publish.export(model, recipe, a_training(), folder))


def test_a_small_body_answers_alike_and_holds_the_weights_alone(
    model: TorchModel, pool: ClassPool, tmp_path: Path
) -> None:
    whole, small = (served(model, "protonet-cosine", tmp_path / str(is_small), is_small) for is_small in (False, True))
    assert (small.folder / "body.onnx").stat().st_size < 0.6 * (whole.folder / "body.onnx").stat().st_size
    loaded = TorchModel.load(small.folder, small.manifest)
    assert set(loaded.meta_params) == {"log_scale"}
    assert np.array_equal(loaded.features(pool.inputs[:3]), small.features(pool.inputs[:3]))
    here, there = (one.features(pool.inputs[:60]) for one in (small, whole))
    cosines = (here * there).sum(1) / (np.linalg.norm(here, axis=1) * np.linalg.norm(there, axis=1))
    assert cosines.min() > 0.999
    assert not np.array_equal(here, there)


def test_a_small_body_that_answers_otherwise_is_refused(
    model: TorchModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_filters(graph: onnx.ModelProto) -> onnx.ModelProto:
        for tensor in graph.graph.initializer:
            if len(tensor.dims) == 4:
                tensor.CopyFrom(numpy_helper.from_array(np.ones(tensor.dims, np.float32), tensor.name))
        return graph

    monkeypatch.setattr(publish, "with_eight_bit_weights", other_filters)
    recipe = a_recipe(VARIANTS["protonet-cosine"]).model_copy(update={"small_body": True})
    with pytest.raises(publish.PublishError, match="in eight bits have a cosine"):
        publish.export(model, recipe, a_training(), tmp_path / "x")


@pytest.mark.parametrize("small", [False, True])
def test_what_a_network_computes_of_its_weights_is_computed_once(small: bool, pool: ClassPool, tmp_path: Path) -> None:
    """Filters that are one another's mirror images are written out, in eight bits when a graph is loaded: what runs are
    plain convolutions."""
    backbone = {"name": "equivariant", "stem": 8, "widths": [16, 16], "extra": 1}
    recipe = a_recipe(VARIANTS["committee"])
    algorithm = build_algorithm(recipe.algorithm, backbone, recipe.input.shape)
    model = TorchModel(algorithm, algorithm.init())
    published = served(model, "committee", tmp_path / "x", small, backbone)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(tmp_path / "x" / "body.onnx", options, ["CPUExecutionProvider"])
    operations = {node.op_type for node in onnx.load(tmp_path / ("loaded.onnx" if small else "x/body.onnx")).graph.node}
    assert "Conv" in operations
    assert not operations & {"Gather", "Transpose", "Slice", "BatchNormalization", "Sqrt"}
    here, there = published.features(pool.inputs[:9]), model.features(pool.inputs[:9])
    np.testing.assert_allclose(here, there, atol=0.02 if small else 1e-5)


def test_a_small_body_of_maps_adapts_as_the_whole_one(pool: ClassPool, tmp_path: Path) -> None:
    """What is loaded has no backbone to ask for the shape of its maps."""
    recipe = a_recipe(VARIANTS["relation"])
    algorithm = build_algorithm(recipe.algorithm, recipe.backbone, recipe.input.shape)
    model = TorchModel(algorithm, algorithm.init())
    small = served(model, "relation", tmp_path / "x", True)
    loaded, labels = TorchModel.load(small.folder, small.manifest), np.arange(20) % 4
    here, there = (
        one.logits(one.adapt(one.features(pool.inputs[:20]), labels, 4), one.features(pool.inputs[20:30]))
        for one in (loaded, model)
    )
    np.testing.assert_allclose(here, there, atol=0.05)  # but for eight bits


def test_filters_that_follow_from_others_are_kept_once() -> None:
    """An eighth of them, from which a runtime makes the same floats as of all."""
    torch.manual_seed(0)
    network = Equivariant((1, 28, 28), stem=16, widths=(32, 32)).eval()
    graph = computed_once(to_onnx(network, (torch.rand(2, 1, 28, 28),), ["inputs"], ["features"]))
    every = {t.name: numpy_helper.to_array(t) for t in graph.graph.initializer if len(t.dims) == 4}
    small = with_eight_bit_weights(graph)
    kept = {t.name: t for t in small.graph.initializer}
    spread = [name for name, filters in every.items() if filters.shape[1] > 1]
    assert len(spread) == len(every) - 1 == 6, "all but the stem's, which sees no groups of channels"
    small.graph.output.extend([onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in spread])
    inputs = {"inputs": np.zeros((2, 1, 28, 28), np.float32)}
    for name, made in zip(
        spread, onnxruntime.InferenceSession(small.SerializeToString()).run(spread, inputs), strict=True
    ):
        filters = every[name]
        scales = np.abs(filters).max((1, 2, 3), keepdims=True) / 127
        assert np.array_equal(made, np.rint(filters / scales).astype(np.float32) * scales)
        assert np.prod(kept[f"{name}/once/whole"].dims) == filters.size / 8


def test_filters_that_follow_from_no_others_stay_as_they_are() -> None:
    rng, scales = np.random.default_rng(0), np.ones((32, 1, 1, 1), np.float32)
    plain = rng.integers(-127, 128, (32, 32, 3, 3)).astype(np.int8)
    assert only_once(plain, scales) is None
    assert only_once(plain[:12], scales[:12]) is None
    same = np.broadcast_to(plain[:4, :1, :1, :1], (4, 32, 3, 3)).repeat(8, 0).reshape(4, 8, 32, 3, 3)
    same = same.swapaxes(0, 1).reshape(32, 32, 3, 3)
    assert only_once(same, scales) is not None
    scales[9] = 2
    assert only_once(same, scales) is None
