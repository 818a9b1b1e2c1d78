"""Pictures moved by affine maps, which has a derivative (Jaderberg et al. 2015, arXiv:1506.02025)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def moved(inputs: Tensor, maps: Tensor, *, padding: str = "zeros") -> list[Tensor]:
    """(n, channels, height, width) and m maps (m, 2, 3) to m times (n, channels, height, width)."""
    grids = functional.affine_grid(maps, [len(maps), *inputs.shape[1:]], align_corners=False)
    return [
        functional.grid_sample(inputs, grid.expand(len(inputs), -1, -1, -1), align_corners=False, padding_mode=padding)
        for grid in grids
    ]
