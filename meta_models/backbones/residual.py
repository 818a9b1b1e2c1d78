"""A small residual network (He et al. 2016, arXiv:1512.03385): nine times the arithmetic of Conv4, more accurate."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


class Residual(nn.Module):
    """A 3×3 stem, then blocks of two 3×3 convolutions beside a 1×1 shortcut, each followed by 2×2 average pooling.

    Normalisation uses running statistics outside training, so a feature never depends on the other
    examples of its batch.
    """

    def __init__(self, shape: tuple[int, int, int], stem: int = 32, widths: Sequence[int] = (64, 96, 160)) -> None:
        """`shape` is one example's (channels, height, width); `widths` the filters of each block."""
        super().__init__()
        channels, height, size = shape
        self.stem = nn.Sequential(
            OrderedDict(conv=nn.Conv2d(channels, stem, 3, padding=1, bias=False), norm=nn.BatchNorm2d(stem))
        )
        self.blocks = nn.Sequential(OrderedDict[str, nn.Module]())
        before = stem
        for number, width in enumerate(widths, start=1):
            self.blocks.add_module(f"block{number}", Block(before, width))
            before, height, size = width, height // 2, size // 2
        self.n_features = before * height * size

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) to (n, n_features)."""
        return self.blocks(functional.relu(self.stem(inputs))).flatten(1)


class Block(nn.Module):
    """Two convolutions with normalisation beside a shortcut; halves height and width."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Conv2d(before, width, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(width)

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, before, height, width) to (n, width, height / 2, width / 2)."""
        inner = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(inputs)))))
        joined = functional.relu(inner + self.norm3(self.shortcut(inputs)))
        return functional.avg_pool2d(joined, 2)
