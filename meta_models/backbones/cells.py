"""Networks of one cell, repeated, whose operations can be learned (DARTS, Liu et al. 2019, arXiv:1806.09055).

A cell is a list of edges (from, to, operation) between nodes. Node 0 is the cell's input, every other node is the ReLU
of the sum of its edges, the last one is the output. Before the cells stands Conv4's first block, and 2×2 max pooling
follows each cell: three cells of one edge, a 3×3 convolution, are Conv4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

Edge = tuple[int, int, str]

N_CELLS = 3


def _conv(width: int, size: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width, width, size, padding=size // 2, groups=groups, bias=False)


OPERATIONS: dict[str, Callable[[int], nn.Module]] = {
    "conv3": lambda width: nn.Sequential(_conv(width, 3), nn.BatchNorm2d(width)),
    "conv1": lambda width: nn.Sequential(_conv(width, 1), nn.BatchNorm2d(width)),
    "separable3": lambda width: nn.Sequential(_conv(width, 3, width), _conv(width, 1), nn.BatchNorm2d(width)),
    "max3": lambda width: nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.BatchNorm2d(width)),
    "average3": lambda width: nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.BatchNorm2d(width)),
    "skip": lambda width: nn.BatchNorm2d(width),
}
"""What an edge can do, each normalised, so that none is preferred for its scale."""


class Cells(nn.Module):
    """A 3×3 stem and three cells of the same edges, `width` channels throughout.

    Normalisation uses running statistics outside training, so a feature never depends on the other
    examples of its batch.
    """

    def __init__(
        self, shape: tuple[int, int, int], edges: Sequence[Edge], width: int = 64, *, pooled: bool = True
    ) -> None:
        """`shape` is one example's (channels, height, width). Unless `pooled`, no pooling follows the last cell: more
        features for the same operations.

        Raises:
            ValueError: an edge leads backwards, or a node has no edge that leads to it.
        """
        super().__init__()
        self.edges = [(int(start), int(end), operation) for start, end, operation in edges]
        self.n_nodes = max(end for _, end, _ in self.edges) + 1
        if {end for _, end, _ in self.edges} != set(range(1, self.n_nodes)) or any(a >= b for a, b, _ in self.edges):
            raise ValueError(f"a cell's edges lead forwards, at least one to each node after 0; these are {self.edges}")
        self.stem = nn.Sequential(nn.Conv2d(shape[0], width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.cells = nn.ModuleList(
            nn.ModuleList(self._layer(operation, width) for _, _, operation in self.edges) for _ in range(N_CELLS)
        )
        self.pooled = pooled
        halvings = N_CELLS + pooled
        self.n_features = width * (shape[1] // 2**halvings) * (shape[2] // 2**halvings)

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) to (n, n_features)."""
        x = functional.max_pool2d(functional.relu(self.stem(inputs)), 2)
        for number, cell in enumerate(self.cells, start=1):
            nodes = [x]
            for node in range(1, self.n_nodes):
                arriving = (e for e, (_, end, _) in enumerate(self.edges) if end == node)
                terms = [self._along(e, cell[e], nodes[self.edges[e][0]]) for e in arriving]  # pyright: ignore[reportIndexIssue]
                nodes.append(functional.relu(torch.stack(terms).sum(0)))
            x = nodes[-1] if number == N_CELLS and not self.pooled else functional.max_pool2d(nodes[-1], 2)
        return x.flatten(1)

    def _layer(self, operation: str, width: int) -> nn.Module:
        return OPERATIONS[operation](width)

    def _along(self, edge: int, layer: nn.Module, x: Tensor) -> Tensor:
        return layer(x)


class MixedCells(Cells):
    """Every operation on every edge, each counting by the softmax of its entry in `alpha` (eq. 2): what is searched."""

    def __init__(self, shape: tuple[int, int, int], n_nodes: int = 4, width: int = 16) -> None:
        edges = [(*pair, "mixed") for pair in _pairs(n_nodes)]
        super().__init__(shape, edges, width)
        self.alpha = nn.Parameter(torch.zeros(len(edges), len(OPERATIONS)))

    def _layer(self, operation: str, width: int) -> nn.Module:
        return nn.ModuleList(make(width) for make in OPERATIONS.values())

    def _along(self, edge: int, layer: nn.Module, x: Tensor) -> Tensor:
        weights = self.alpha[edge].softmax(0)
        assert isinstance(layer, nn.ModuleList)  # noqa: S101 - as `_layer` makes it
        return torch.stack([w * operation(x) for w, operation in zip(weights, layer, strict=True)]).sum(0)


def strongest(alpha: Tensor, n_nodes: int = 4, kept: int = 2) -> Iterator[Edge]:
    """The cell that `alpha` (n_edges, n_operations) stands for: into each node its `kept` edges of largest weight, each
    with its best operation (section 2.4)."""
    edges = _pairs(n_nodes)
    weights = alpha.detach().softmax(1)
    for node in range(1, n_nodes):
        arriving = [(float(weights[e].max()), e) for e, (_, end) in enumerate(edges) if end == node]
        for _, e in sorted(sorted(arriving, reverse=True)[:kept], key=lambda pair: pair[1]):
            yield (*edges[e], list(OPERATIONS)[int(weights[e].argmax())])


def _pairs(n_nodes: int) -> list[tuple[int, int]]:
    """All edges of so many nodes, by where they lead: the rows of `alpha`."""
    return sorted(combinations(range(n_nodes), 2), key=lambda pair: pair[::-1])
