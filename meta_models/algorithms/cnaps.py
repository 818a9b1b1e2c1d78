"""A network reads the support set and emits parameters (CNAPs, Requeima et al. 2019, arXiv:1906.07697)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from meta_models.algorithms.bodies import OwnBody
from meta_models.algorithms.inner_loop import CHUNK
from meta_models.algorithms.protocol import (
    InnerSettings,
    OnStep,
    Tensors,
    class_means,
    init_backbone,
    n_features,
    norm_layers,
)

_ENCODER = ("encoder.0", "encoder.1", "encoder.2")


@dataclass(frozen=True)
class CNAPs(OwnBody):
    """A set encoder summarises the support set (eq. 6); from the summary come a scale and a shift for each channel of
    the backbone (FiLM, section 2.2), and from each class's mean feature the class's row of the head (eq. 8).

    No gradient is taken. FiLM after a normalisation is another normalisation: scale and shift go into
    its weight and bias. The summary is a mean over classes of class means, so no class counts by its size.
    """

    name: ClassVar[str] = "cnaps"
    summary: int = 64
    inner: InnerSettings | None = None

    def init(self) -> Tensors:
        backbone = init_backbone(self.backbone)
        d, z = n_features(self.backbone), self.summary
        channels = next(iter(self.backbone.parameters())).shape[1]
        modules: dict[str, nn.Conv2d | nn.Linear] = {
            name: nn.Conv2d(c_in, c_out, 3, stride=2, padding=1)
            for name, c_in, c_out in zip(_ENCODER, (channels, 32, 32), (32, 32, z), strict=True)
        }
        modules["film"] = nn.Linear(z, z)
        for layer in norm_layers(self.backbone):
            modules[f"film.{layer}"] = _small(nn.Linear(z, 2 * len(backbone[f"backbone.{layer}.weight"])))
        modules["row.hidden"], modules["row"] = nn.Linear(d, d), _small(nn.Linear(d, d + 1))
        made = {f"{name}.{part}": t.detach().clone() for name, m in modules.items() for part, t in m.named_parameters()}
        return {**backbone, "log_scale": torch.tensor(math.log(10.0)), **made}

    def adapt(
        self,
        meta_params: Tensors,
        features: Tensor,
        labels: Tensor,
        n_way: int,
        *,
        inner: InnerSettings | None = None,
        create_graph: bool = False,
        on_step: OnStep | None = None,
    ) -> Tensors:
        codes = torch.cat([_encode(meta_params, part) for part in features.split(CHUNK)])
        film = self._film(meta_params, class_means(codes, labels, n_way).mean(0))
        directions = torch.cat([self._directions({**meta_params, **film}, part) for part in features.split(CHUNK)])
        means = functional.normalize(class_means(directions, labels, n_way), dim=-1)
        made = _linear(meta_params, "row", torch.relu(_linear(meta_params, "row.hidden", means)))
        return {**film, "rows": means + made[:, :-1], "biases": made[:, -1]}

    def head(self, meta_params: Tensors, adapted: Tensors, features: Tensor) -> Tensor:
        cosines = self._directions({**meta_params, **adapted}, features) @ adapted["rows"].T
        return meta_params["log_scale"].exp() * cosines + adapted["biases"]

    def _film(self, meta_params: Tensors, summary: Tensor) -> Tensors:
        """The normalisations' weights and biases for this support set, γ ∘ (weight ∘ x + bias) + β multiplied out."""
        hidden = torch.relu(_linear(meta_params, "film", summary))
        film: Tensors = {}
        for layer in norm_layers(self.backbone):
            scale, shift = _linear(meta_params, f"film.{layer}", hidden).chunk(2)
            film[f"backbone.{layer}.weight"] = (1 + scale) * meta_params[f"backbone.{layer}.weight"]
            film[f"backbone.{layer}.bias"] = (1 + scale) * meta_params[f"backbone.{layer}.bias"] + shift
        return film


def _encode(meta_params: Tensors, inputs: Tensor) -> Tensor:
    """(n, channels, height, width) to (n, summary)."""
    for name in _ENCODER:
        weight, bias = meta_params[f"{name}.weight"], meta_params[f"{name}.bias"]
        inputs = torch.relu(functional.conv2d(inputs, weight, bias, stride=2, padding=1))
    return inputs.mean(dim=(2, 3))


def _linear(meta_params: Tensors, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, meta_params[f"{name}.weight"], meta_params[f"{name}.bias"])


def _small(layer: nn.Linear) -> nn.Linear:
    """Starts close to zero: FiLM as the identity, rows as prototypes."""
    nn.init.normal_(layer.weight, std=1e-3)
    nn.init.zeros_(layer.bias)
    return layer
