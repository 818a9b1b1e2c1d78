"""The graphs of a meta-model: what its torch functions are in ONNX, with every size open that a client may choose."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meta_models.inputs import TextSpec
from meta_models.inputs.vector import N_DIMENSIONS
from meta_models.onnx_export import computed_once, to_onnx
from meta_models.recipe import Recipe
from meta_models.torch_model import Arrays, TorchModel, as_floats


def body_graph(model: TorchModel, recipe: Recipe) -> onnx.ModelProto:
    """`inputs` as they are read to `features`."""
    inputs, sizes = _inputs(recipe, 2), {0: "n"}
    if isinstance(recipe.input, TextSpec):  # texts and names go through it by themselves, at any length
        inputs, sizes = recipe.input.parts(inputs)[0][:, :16], {0: "n", 1: "length"}
    traced = to_onnx(_Body(model).eval(), (torch.from_numpy(inputs),), ["inputs"], ["features"], {"inputs": sizes})
    return computed_once(traced)


def head_graph(model: TorchModel, recipe: Recipe, shapes: dict[str, tuple[int | str, ...]]) -> onnx.ModelProto:
    """The adapted tensors, by their names, and `features` to `logits`; `shapes` as `symbolic_shapes` gives them."""
    features = torch.from_numpy(model.features(_inputs(recipe, 4)))
    if isinstance(recipe.input, TextSpec):
        features = features[:, 0]  # a query has no class name
    tensors = {name: torch.from_numpy(a) for name, a in _example_adapted(model, recipe).items()}
    dynamic = {
        name: {axis: size for axis, size in enumerate(shape) if isinstance(size, str)} for name, shape in shapes.items()
    }
    rows: dict[int, str] = {0: "n"}
    if not model.shares_body:
        rows |= {axis: size for axis, size in enumerate(recipe.input.shape, 1) if isinstance(size, str)}
    return to_onnx(
        _Head(model).eval(),
        (tensors, features),  # a dictionary in the last place would be taken for keyword arguments
        [*tensors, "features"],
        ["logits"],
        {"adapted": dynamic, "features": rows},
    )


def symbolic_shapes(model: TorchModel, recipe: Recipe) -> dict[str, tuple[int | str, ...]]:
    """Shapes of the adapted tensors; an axis that moves with the support set is named after what moves it."""

    def shapes(n_way: int, n_support: int, *, wider: bool = False) -> dict[str, tuple[int, ...]]:
        return {name: a.shape for name, a in _example_adapted(model, recipe, n_way, n_support, wider=wider).items()}

    base = shapes(3, 7)
    others = {"n_way": shapes(5, 7), "n_support": shapes(3, 11), N_DIMENSIONS: shapes(3, 7, wider=True)}
    return {
        name: tuple(
            next((symbol for symbol, other in others.items() if other[name][axis] != size), size)
            for axis, size in enumerate(shape)
        )
        for name, shape in base.items()
    }


class _Body(nn.Module):
    """The shared body as a graph: inputs as they are read to features."""

    def __init__(self, model: TorchModel) -> None:
        super().__init__()
        self.model = model
        self._tensors = _registered(self, model)

    def forward(self, inputs: Tensor) -> Tensor:
        tensors = {name: getattr(self, key) for name, key in self._tensors.items()}
        return self.model.algorithm.body(tensors, as_floats(inputs))


class _Head(nn.Module):
    """The head as a graph: features and adapted tensors to logits."""

    def __init__(self, model: TorchModel) -> None:
        super().__init__()
        self.model = model
        self._tensors = _registered(self, model)

    def forward(self, adapted: dict[str, Tensor], features: Tensor) -> Tensor:
        tensors = {name: getattr(self, key) for name, key in self._tensors.items()}
        return self.model.algorithm.head(tensors, adapted, as_floats(features))


def _registered(module: nn.Module, model: TorchModel) -> dict[str, str]:
    keys = {name: name.replace(".", "__") for name in model.meta_params}
    for name, key in keys.items():
        module.register_buffer(key, model.meta_params[name])
    return keys


def _inputs(recipe: Recipe, n: int, n_way: int = 1, *, wider: bool = False) -> NDArray[Any]:
    return recipe.input.examples(np.random.default_rng(0), np.arange(n) % n_way, wider=wider)


def _example_adapted(
    model: TorchModel, recipe: Recipe, n_way: int = 3, n_support: int = 7, *, wider: bool = False
) -> Arrays:
    inputs = _inputs(recipe, n_support, n_way, wider=wider)
    return model.adapt(model.features(inputs), np.arange(n_support) % n_way, n_way)
