"""A residual network that sees a turned or mirrored drawing as the same one from elsewhere (Cohen & Welling 2016,
arXiv:1602.07576): of as many channels and as much arithmetic as `Residual`, with an eighth of the numbers to learn.

Every filter is used under every symmetry of the square, so what is learned of a stroke holds wherever it points.
Features keep apart which symmetry answered: a b and a d stay as different as they are. In a published graph the filters
are written out (`onnx_export.computed_once`), which leaves plain convolutions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

SYMMETRIES = 8
"""Of the square: quarter turns, numbers 0 to 3, and 4 to 7 their mirror images."""
_MOMENTUM = 0.1
"""How far running statistics go to a batch's, as in torch's own normalisations."""


class Equivariant(nn.Module):
    """The blocks of `Residual` over the symmetries of the square.

    Channels are eight groups, one for each symmetry; one that turns or mirrors a square input does the same to every
    map, and exchanges the groups. Normalisation uses running statistics outside training, so a
    feature never depends on the other examples of its batch.
    """

    def __init__(
        self, shape: tuple[int, int, int], stem: int = 32, widths: Sequence[int] = (64, 96, 160), extra: int = 0
    ) -> None:
        """`shape` is one example's (channels, height, width); `stem` and `widths` count channels, all groups together.
        Before the last block come `extra` ones that keep the size.

        Raises:
            ValueError: channels do not make eight groups.
        """
        super().__init__()
        channels, height, size = shape
        if any(width % SYMMETRIES for width in (stem, *widths)):
            raise ValueError(f"an equivariant network has multiples of {SYMMETRIES} channels, not {stem}, {widths}")
        self.stem = _Convolution(channels, stem, 3, lifts=True)
        self.blocks = nn.Sequential(OrderedDict[str, nn.Module]())
        before = stem
        for number, width in enumerate(widths, start=1):
            for i in range(extra if number == len(widths) else 0):
                self.blocks.add_module(f"extra{i + 1}", _Block(before, before, halves=False))
            self.blocks.add_module(f"block{number}", _Block(before, width))
            before, height, size = width, height // 2, size // 2
        self.n_features = before * height * size

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) to (n, n_features)."""
        return self.blocks(functional.relu(self.stem(inputs))).flatten(1)


class _Block(nn.Module):
    """Two convolutions beside a shortcut; halves height and width, or else keeps as many channels."""

    def __init__(self, before: int, width: int, *, halves: bool = True) -> None:
        super().__init__()
        self.halves = halves
        self.first = _Convolution(before, width, 3)
        self.second = _Convolution(width, width, 3)
        self.shortcut = _Convolution(before, width, 1) if halves else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, before, height, width) to (n, width, height / 2, width / 2), where it halves them."""
        inner = self.second(functional.relu(self.first(inputs)))
        joined = functional.relu(inner + self.shortcut(inputs))
        if not self.halves:
            return joined
        # Windows of three share an odd side out evenly; windows of two would leave one of its edges out.
        return functional.avg_pool2d(joined, 2 + joined.shape[2] % 2, 2)


class _Convolution(nn.Module):
    """A convolution over the symmetries, then normalisation that does not tell them apart."""

    moved: Tensor

    def __init__(self, before: int, width: int, kernel: int, *, lifts: bool = False) -> None:
        """`lifts` where the input is a picture, not yet groups of channels."""
        super().__init__()
        self.lifts = lifts
        self.conv = nn.Conv2d(before, width // SYMMETRIES, kernel, bias=False)
        self.norm = nn.BatchNorm1d(width // SYMMETRIES)
        self.register_buffer("moved", torch.tensor(MOVED), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, before, height, width) to as many maps of as many channels as asked for."""
        weight, norm = self.conv.weight, self.norm
        everywhere = torch.cat([self._under(symmetry) for symmetry in range(SYMMETRIES)])
        maps = functional.conv2d(inputs, everywhere, padding=weight.shape[2] // 2)
        if self.training:
            return self._normalised(maps)
        assert norm.running_mean is not None and norm.running_var is not None  # noqa: S101, PT018 - it keeps them
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        return maps * _repeated(scale)[:, None, None] + _repeated(shift)[:, None, None]

    def _normalised(self, maps: Tensor) -> Tensor:
        """By this batch's statistics, each symmetry by its own; the running ones are of all of them together.

        Statistics shared within the batch would learn the same, at twice the cost of a step: the library has no quick
        way of summing over a few channels.
        """
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None  # noqa: S101, PT018 - it keeps them
        mean, var = (torch.zeros(maps.shape[1], device=maps.device) for _ in range(2))
        scale, shift = _repeated(norm.weight), _repeated(norm.bias)
        normalised = functional.batch_norm(maps, mean, var, scale, shift, training=True, momentum=1.0, eps=norm.eps)
        with torch.no_grad():
            mean, var = mean.unflatten(0, (SYMMETRIES, -1)), var.unflatten(0, (SYMMETRIES, -1))
            norm.running_mean.lerp_(mean.mean(0), _MOMENTUM)
            norm.running_var.lerp_(var.mean(0) + mean.var(0, correction=0), _MOMENTUM)
        return normalised

    def _under(self, symmetry: int) -> Tensor:
        """The filters under a symmetry, (width / 8, before, kernel, kernel)."""
        weight = self.conv.weight
        seen = torch.rot90(weight.flip(3) if symmetry >= 4 else weight, symmetry % 4, dims=(2, 3))
        if self.lifts:
            return seen
        return seen.unflatten(1, (SYMMETRIES, -1)).index_select(1, self.moved[symmetry]).flatten(1, 2)


def _repeated(numbers: Tensor) -> Tensor:
    return numbers.repeat(SYMMETRIES)


def _product(a: int, b: int) -> int:
    """Symmetry b first, then a; after a mirror image turns go the other way."""
    turns = (a - b if a >= 4 else a + b) % 4
    return turns + 4 * ((a >= 4) != (b >= 4))


def _inverse(a: int) -> int:
    return next(b for b in range(SYMMETRIES) if _product(a, b) == 0)


MOVED = [[_product(_inverse(a), b) for b in range(SYMMETRIES)] for a in range(SYMMETRIES)]
"""Where a filter under symmetry a finds the channels of symmetry b."""
