"""A meta-model in torch: what training improves and the worker adapts with. Arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from meta_models.algorithms import ALGORITHMS, Algorithm, InnerSettings, Tensors
from meta_models.algorithms.inner_loop import CHUNK
from meta_models.algorithms.protocol import HoldsOut, OnStep, SeesViews, n_features
from meta_models.backbones import BACKBONES
from meta_models.backbones.encoder import Encoder
from meta_models.manifest import BODY_FILE, META_PARAMS_FILE, Manifest
from meta_models.serving import Arrays, BodyGraph, Features
from meta_models.support_views import with_views


def build_algorithm(algorithm: dict[str, Any], backbone: dict[str, Any], shape: tuple[int | str, ...]) -> Algorithm:
    """An algorithm bound to its backbone, from the tables of a recipe or manifest."""
    backbone_options = {k: v for k, v in backbone.items() if k != "name"}
    options = {k: v for k, v in algorithm.items() if k not in ("name", "inner")}
    if "inner" in algorithm:
        options["inner"] = InnerSettings(**algorithm["inner"])
    module = BACKBONES[backbone["name"]](shape, **backbone_options)
    return ALGORITHMS[algorithm["name"]](backbone=module.requires_grad_(False), **options)


@dataclass(frozen=True)
class TorchModel:
    """An algorithm with meta_params."""

    algorithm: Algorithm
    meta_params: Tensors
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    graph: BodyGraph | None = None
    """The body, where it is no network in torch: an encoder of one's own, or weights published in their graph alone."""

    @classmethod
    def load(cls, folder: Path, manifest: Manifest, device: str = "cpu") -> TorchModel:
        """Read a published folder; safetensors hold numbers only, never code."""
        algorithm = build_algorithm(manifest.algorithm, manifest.backbone, manifest.input.shape)
        params, graph = load_file(folder / META_PARAMS_FILE, device=device), None
        if isinstance(algorithm.backbone, Encoder) or not _has_all(params, algorithm.backbone):
            stand_in = {"name": "encoder", "n_features": n_features(algorithm.backbone)}
            algorithm = build_algorithm(manifest.algorithm, stand_in, manifest.input.shape)
            params = {name: t for name, t in params.items() if not name.startswith("backbone.")}
            graph = BodyGraph(folder / BODY_FILE, manifest.input)
        return cls(algorithm, params, torch.device(device), graph)

    @property
    def shares_body(self) -> bool:
        return self.algorithm.shares_body

    @property
    def adapts_backbone(self) -> bool:
        """Whether each adaptation runs, and changes, a network of its own: what makes it slow."""
        return not self.shares_body and any(name.startswith("backbone.") for name in self.meta_params)

    @property
    def n_support_views(self) -> int:
        """Views that adapting sees of an example besides it."""
        return self.algorithm.n_support_views if isinstance(self.algorithm, SeesViews) else 0

    def support_views(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """(n, *shape) to (n, n_support_views, *shape), of the same kind of numbers: what a body's graph takes."""
        if not isinstance(self.algorithm, SeesViews):
            raise TypeError(f"{self.algorithm.name} adapts to no views")
        with torch.inference_mode():
            found = self.algorithm.support_views(as_floats(torch.from_numpy(np.ascontiguousarray(inputs))))
        return (found * 255).round().to(torch.uint8).numpy() if inputs.dtype == np.uint8 else found.numpy()

    def features(self, inputs: NDArray[Any]) -> Features:
        """(n, *shape) to features, a chunk at a time; the inputs where no body is shared."""
        if not self.shares_body:
            return inputs
        if self.graph is not None:
            return self.graph(inputs)
        with torch.inference_mode():
            parts = [
                self.algorithm.body(self.meta_params, self._tensor(inputs[start : start + CHUNK])).float().cpu()
                for start in range(0, len(inputs), CHUNK)
            ]
        return torch.cat(parts).numpy()

    def support_features(self, inputs: NDArray[Any], labels: NDArray[np.int64] | None = None) -> Features:
        """What `adapt` reads of a support set: `with_views`."""
        return with_views(self.features, self, inputs, labels)

    def of_queries(self, features: Features) -> Features:
        """Of features that may stand beside those of views, the inputs' own, as queries have."""
        return features[:, 0] if self.n_support_views and features.ndim == 3 else features

    def adapt(
        self,
        features: Features,
        labels: NDArray[np.int64],
        n_way: int,
        inner: InnerSettings | None = None,
        on_step: OnStep | None = None,
    ) -> Arrays:
        """Support features (n_support, …) and labels (n_support,) to adapted tensors."""
        with torch.no_grad():
            adapted = self.algorithm.adapt(
                self.meta_params,
                self._tensor(features),
                torch.from_numpy(labels).to(self.device),
                n_way,
                inner=inner,
                on_step=on_step,
            )
        return {name: t.float().cpu().contiguous().numpy() for name, t in adapted.items()}

    def logits(self, adapted: Arrays, features: Features) -> NDArray[np.float32]:
        """Query features to logits (n_query, n_way)."""
        features = self.of_queries(features)
        tensors = {name: torch.from_numpy(a).to(self.device) for name, a in adapted.items()}
        with torch.inference_mode():
            return self.algorithm.head(self.meta_params, tensors, self._tensor(features)).float().cpu().numpy()

    def held_out(self, features: Features, labels: NDArray[np.int64], n_way: int) -> NDArray[np.float32] | None:
        """`HoldsOut.held_out`; None where the algorithm has no closed form."""
        if not isinstance(self.algorithm, HoldsOut):
            return None
        with torch.inference_mode():
            classes = torch.from_numpy(labels).to(self.device)
            return self.algorithm.held_out(self.meta_params, self._tensor(features), classes, n_way).cpu().numpy()

    def _tensor(self, array: Features) -> Tensor:
        return as_floats(torch.from_numpy(np.ascontiguousarray(array)).to(self.device))


def _has_all(params: Tensors, backbone: nn.Module) -> bool:
    floats = (name for name, tensor in backbone.state_dict().items() if tensor.is_floating_point())
    return all(f"backbone.{name}" in params for name in floats)


def as_floats(tensor: Tensor) -> Tensor:
    """What backbones see of an input: uint8 becomes [0, 1], int16 [-1, 1), floats stay as they are."""
    full_scale = {torch.uint8: 255, torch.int16: 32768}.get(tensor.dtype)
    return tensor.float() / full_scale if full_scale else tensor
