"""ResNet-12, the residual network of few-shot papers on photographs (Oreshkin et al. 2018, arXiv:1805.10123)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


class ResNet12(nn.Module):
    """Four blocks of three 3×3 convolutions beside a 1×1 shortcut, each followed by 2×2 max pooling; then the mean over
    positions.

    Normalisation uses running statistics outside training, so a feature never depends on the other
    examples of its batch.
    """

    def __init__(self, shape: tuple[int, int, int], widths: Sequence[int] = (64, 128, 256, 512)) -> None:
        """`shape` is one example's (channels, height, width); `widths` the filters of each block."""
        super().__init__()
        before = shape[0]
        self.blocks = nn.Sequential(OrderedDict[str, nn.Module]())
        for number, width in enumerate(widths, start=1):
            self.blocks.add_module(f"block{number}", Block(before, width))
            before = width
        self.n_features = before

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) to (n, n_features)."""
        return self.blocks(inputs).mean((2, 3))


class Block(nn.Module):
    """Three convolutions with normalisation beside a shortcut; halves height and width."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(width)
        self.shortcut = nn.Conv2d(before, width, 1, bias=False)
        self.norm4 = nn.BatchNorm2d(width)

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, before, height, width) to (n, width, height / 2, width / 2)."""
        inner = functional.leaky_relu(self.norm1(self.conv1(inputs)), 0.1)
        inner = functional.leaky_relu(self.norm2(self.conv2(inner)), 0.1)
        joined = self.norm3(self.conv3(inner)) + self.norm4(self.shortcut(inputs))
        return functional.max_pool2d(functional.leaky_relu(joined, 0.1), 2)
