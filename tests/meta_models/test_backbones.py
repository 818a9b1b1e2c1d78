"""Every backbone of the registry: shapes as promised, and features that depend on their own example alone."""

from __future__ import annotations

import pytest
import torch

from meta_models.algorithms.protocol import init_backbone, n_features, with_backbone
from meta_models.backbones import BACKBONES

SMALL = {"conv4": {"width": 8}, "residual": {"stem": 4, "widths": (6, 8)}}


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 40)])
def test_features(name: str, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    backbone = BACKBONES[name](shape, **SMALL[name])
    params = init_backbone(backbone)
    inputs = torch.rand(5, *shape)
    with_backbone(backbone, params, inputs, training=True)  # moves the running statistics
    features = with_backbone(backbone, params, inputs)
    assert features.shape == (5, n_features(backbone))
    alone = with_backbone(backbone, params, inputs[2:3])
    torch.testing.assert_close(alone[0], features[2])
    assert float((features[0] - features[1]).abs().max()) > 1e-3, "two examples look the same"
