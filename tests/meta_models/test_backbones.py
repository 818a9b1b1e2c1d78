"""Every backbone of pictures: shapes as promised, and features that depend on their own example alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d

from meta_models.algorithms.protocol import init_backbone, n_features, with_backbone
from meta_models.backbones import BACKBONES
from meta_models.backbones.cells import OPERATIONS, Cells, MixedCells, strongest
from meta_models.backbones.equivariant import SYMMETRIES, Equivariant

EDGES = [(0, 1, "conv3"), (0, 2, "skip"), (1, 2, "separable3"), (0, 3, "max3"), (2, 3, "conv1"), (1, 3, "average3")]
SMALL = {
    "cells": {"edges": EDGES, "width": 8},
    "conv4": {"width": 8},
    "equivariant": {"stem": 8, "widths": (16, 24), "extra": 1},
    "mixed_cells": {"n_nodes": 3, "width": 8},
    "residual": {"stem": 4, "widths": (6, 8)},
    "resnet12": {"widths": (4, 6, 6, 8)},
}


@pytest.mark.parametrize("name", sorted(set(BACKBONES) - {"encoder", "identity", "mel_conv", "sentence"}))
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


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_a_turned_or_mirrored_drawing_gives_the_same_features_elsewhere(symmetry: int) -> None:
    torch.manual_seed(0)
    network = Equivariant((1, 28, 28), 8, (16, 24, 16), extra=1)
    params = init_backbone(network)
    drawing = torch.rand(3, 1, 28, 28)
    with_backbone(network, params, torch.rand(9, 1, 28, 28), training=True)

    def groups(inputs: Tensor) -> Tensor:
        return with_backbone(network, params, inputs).unflatten(1, (SYMMETRIES, 2, 3, 3))

    def changed(maps: Tensor) -> Tensor:
        return torch.rot90(maps.flip(-1) if symmetry >= 4 else maps, symmetry % 4, dims=(-2, -1))

    before, after = changed(groups(drawing)), groups(changed(drawing))
    found = [[torch.allclose(before[:, a], after[:, b], atol=1e-5) for b in range(SYMMETRIES)] for a in range(8)]
    assert all(sum(row) == 1 for row in found), "each group is found again in one place"
    assert sorted(row.index(True) for row in found) == list(range(SYMMETRIES))
    assert found[0][0] == (symmetry == 0), "a mirrored drawing is not the drawing"


def test_running_statistics_are_of_every_symmetry_together() -> None:
    torch.manual_seed(0)
    network = Equivariant((1, 28, 28), 16, (16,)).train()
    drawings = torch.rand(6, 1, 28, 28)
    network(drawings)
    weight, norm = network.stem.conv.weight, network.stem.norm
    filters = torch.cat([torch.rot90(side, k, dims=(2, 3)) for side in (weight, weight.flip(3)) for k in range(4)])
    answers = conv2d(drawings, filters, padding=1).unflatten(1, (SYMMETRIES, 2))
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, 0.1 * answers.mean((0, 1, 3, 4)))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * answers.var((0, 1, 3, 4)), rtol=1e-4, atol=0)


def test_channels_that_make_no_eight_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        Equivariant((1, 28, 28), 8, (16, 20))


def test_a_cell_that_nothing_leads_to_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one to each node"):
        Cells((1, 28, 28), [(0, 2, "conv3")])


def test_without_the_last_pooling_it_is_left_out_and_no_more() -> None:
    torch.manual_seed(0)
    pooled, whole = Cells((1, 28, 28), EDGES, 8), Cells((1, 28, 28), EDGES, 8, pooled=False)
    whole.load_state_dict(pooled.state_dict())
    inputs = torch.rand(3, 1, 28, 28)
    maps = whole.eval()(inputs).unflatten(1, (8, 3, 3))
    torch.testing.assert_close(max_pool2d(maps, 2).flatten(1), pooled.eval()(inputs))
    assert n_features(whole) == 9 * n_features(pooled)


def test_one_hot_mixture_is_the_cell_it_stands_for() -> None:
    """With all its weight on one operation an edge is that operation."""
    torch.manual_seed(0)
    mixed = MixedCells((1, 28, 28), n_nodes=3, width=4)
    chosen = [1, 5, 0]
    with torch.no_grad():
        for edge, operation in enumerate(chosen):
            mixed.alpha[edge, operation] = 1e3
    edges = list(strongest(mixed.alpha, n_nodes=3))
    assert edges == [(a, b, list(OPERATIONS)[o]) for (a, b), o in zip([(0, 1), (0, 2), (1, 2)], chosen, strict=True)]
    alone = Cells((1, 28, 28), edges, width=4)
    wanted = {
        ".".join([*parts[:3], *parts[4:]]): tensor
        for name, tensor in mixed.state_dict().items()
        if (parts := name.split("."))[0] == "cells" and int(parts[3]) == chosen[int(parts[2])]
    }
    alone.load_state_dict({**{n: t for n, t in mixed.state_dict().items() if n.startswith("stem")}, **wanted})
    inputs = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(alone.eval()(inputs), mixed.eval()(inputs))


def test_each_node_keeps_its_strongest_edges() -> None:
    alpha = torch.zeros(6, len(OPERATIONS))
    alpha[3, 2], alpha[5, 4] = 2.0, 1.0  # (0, 3) and (2, 3)
    found = list(strongest(alpha))
    assert [e[:2] for e in found if e[1] == 3] == [(0, 3), (2, 3)]
    assert tuple(e[2] for e in found if e[1] == 3) == ("separable3", "average3")


def test_conv4_is_one_of_the_cells() -> None:
    torch.manual_seed(0)
    conv4, cells = BACKBONES["conv4"]((1, 28, 28), width=8), Cells((1, 28, 28), [(0, 1, "conv3")], 8)
    cells.load_state_dict(dict(zip(cells.state_dict(), conv4.state_dict().values(), strict=True)))
    inputs = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(cells.eval()(inputs), conv4.eval()(inputs))
