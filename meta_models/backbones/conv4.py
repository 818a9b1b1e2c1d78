"""The four-block convolutional network of the few-shot literature (Vinyals et al. 2016, arXiv:1606.04080)."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn


class Conv4(nn.Module):
    """Four blocks of 3×3 convolution, normalisation, ReLU and 2×2 max pooling, the last ones without it where maps are
    wanted (Sung et al. 2018, figure 2).

    Normalisation uses running statistics outside training, so a feature never depends on the other
    examples of its batch.
    """

    def __init__(self, shape: tuple[int, int, int], width: int = 64, n_pooled: int = 4) -> None:
        """`shape` is one example's (channels, height, width); `width` the filters of each block, of which the first
        `n_pooled` halve height and width."""
        super().__init__()
        channels, height, size = shape
        blocks = OrderedDict[str, nn.Module]()
        for number in range(1, 5):
            blocks[f"block{number}"] = nn.Sequential(
                OrderedDict(
                    # The normalisation that follows makes a bias superfluous.
                    conv=nn.Conv2d(channels, width, 3, padding=1, bias=False),
                    norm=nn.BatchNorm2d(width),
                    relu=nn.ReLU(),
                    pool=nn.MaxPool2d(2) if number <= n_pooled else nn.Identity(),
                )
            )
            channels = width
            if number <= n_pooled:
                height, size = height // 2, size // 2
        self.blocks = nn.Sequential(blocks)
        self.map_shape = (width, height, size)
        """Of one example's features."""
        self.n_features = width * height * size

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) to (n, n_features)."""
        return self.blocks(inputs).flatten(1)
