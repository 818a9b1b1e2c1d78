"""A body is asked without padding only where an input's features do not depend on its company."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from meta_models.catalogue import Catalogue, Published
from meta_models.inputs import DrawingSpec, TextSpec
from meta_models.onnx_export import to_onnx
from meta_models.serving import BodyGraph, ServedModel

PADDED = "_padded"


class Alone(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs.float() ** 2).flatten(1)[:, :9]


class AmongOthers(nn.Module):
    """A feature that the other rows move, by the last bit."""

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs.float() ** 2).flatten(1)[:, :9] + 1e-6 * inputs.float().mean()


@pytest.mark.parametrize(("network", "padded"), [(Alone, False), (AmongOthers, True)])
def test_padding_is_for_who_needs_it(network: type[nn.Module], padded: bool, tmp_path: Path) -> None:
    spec = DrawingSpec()
    example = torch.from_numpy(spec.examples(np.random.default_rng(0), np.arange(2)))
    graph = to_onnx(network().eval(), (example,), ["inputs"], ["features"], {"inputs": {0: "n"}})
    (tmp_path / "body.onnx").write_bytes(graph.SerializeToString())
    assert getattr(BodyGraph(tmp_path / "body.onnx", spec), PADDED) is padded


@pytest.mark.parametrize(
    "published",
    [p for p in Catalogue() if p.manifest.shares_body and not isinstance(p.manifest.input, TextSpec)],
    ids=lambda p: p.manifest.name,
)
def test_published_bodies_answer_the_same_in_any_company(published: Published) -> None:
    served = ServedModel(published.folder)
    inputs = published.manifest.input.examples(np.random.default_rng(1), np.arange(35) % 5)
    together = served.features(inputs)
    for first, last in ((0, 1), (1, 3), (3, 6), (6, 11), (34, 35)):
        np.testing.assert_array_equal(served.features(inputs[first:last]), together[first:last])
