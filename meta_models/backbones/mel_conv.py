"""A log-mel spectrogram and a small convolutional network over it, pooled over time: samples in, features out.

The spectrogram is part of the network, so that it is in every graph that serves or leaves the service.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from meta_models.algorithms.protocol import full_precision
from meta_models.inputs.spectrogram import FLOOR, HOP, N_MELS, OVERLAP, RATE, fourier, mel_bands


class MelConv(nn.Module):
    """Blocks of 3×3 convolution, normalisation, ReLU and 2×2 max pooling over a spectrogram.

    Normalisation uses running statistics outside training, so a feature never depends on the other examples of its
    batch. Features are mean and maximum over time of each channel and remaining band.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        rate: int = RATE,
        n_mels: int = N_MELS,
        hop: float = HOP,
        overlap: int = OVERLAP,
        widths: Sequence[int] = (32, 64, 96, 128),
    ) -> None:
        """`shape` is one example's (channels, n_samples), `rate` their number a second; a spectrum every `hop` seconds,
        of `overlap` times as many."""
        super().__init__()
        self.spectrogram = LogMel(rate, n_mels, round(hop * rate), overlap)
        blocks = OrderedDict[str, nn.Module]()
        before, bands = 2, n_mels
        for number, width in enumerate(widths, start=1):
            blocks[f"block{number}"] = nn.Sequential(
                OrderedDict(
                    conv=nn.Conv2d(before, width, 3, padding=1, bias=False),
                    norm=nn.BatchNorm2d(width),
                    relu=nn.ReLU(),
                    pool=nn.MaxPool2d(2),
                )
            )
            before, bands = width, bands // 2
        self.blocks = nn.Sequential(blocks)
        self.frames = self.spectrogram.n_frames(shape[1]) // 2 ** len(widths)
        if not self.frames or not bands:
            raise ValueError(f"{len(widths)} poolings leave nothing of {n_mels} bands and {shape[1]} samples")
        self.n_features = 2 * before * bands

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, 1, n_samples), full scale is 1, to (n, n_features)."""
        found = self.blocks(self.spectrogram(inputs))
        pooled = (functional.avg_pool2d(found, (1, self.frames)), functional.max_pool2d(found, (1, self.frames)))
        return torch.cat(pooled, 1).flatten(1)


class LogMel(nn.Module):
    """`meta_models/inputs/spectrogram.py` in a graph.

    In two versions of deviation 1: with mean 0 over the whole spectrogram, and with mean 0 in each band, which says
    nothing of the recording's microphone. What steady sounds differ in is in the first alone.
    """

    # No tensors to learn: they are in no state_dict, hence in no meta_params.
    waves: Tensor
    mels: Tensor

    def __init__(self, rate: int, n_mels: int, hop: int, overlap: int) -> None:
        """A spectrum every `hop` samples, of `overlap` × `hop` samples."""
        super().__init__()
        self.hop, self.overlap = hop, overlap
        waves = torch.from_numpy(fourier(hop * overlap))
        self.register_buffer("waves", waves.view(-1, overlap, hop).transpose(1, 2).contiguous(), persistent=False)
        self.register_buffer("mels", torch.from_numpy(mel_bands(rate, n_mels, hop * overlap)), persistent=False)

    def n_frames(self, n_samples: int) -> int:
        return n_samples // self.hop

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, 1, n_samples) to (n, 2, n_mels, n_frames)."""
        # A short float has too few digits for quiet bands beside loud ones.
        autocast = torch.is_autocast_enabled(inputs.device.type)
        with full_precision(inputs) if autocast else nullcontext():
            return self._spectrogram(inputs.float())

    def _spectrogram(self, inputs: Tensor) -> Tensor:
        n_frames = self.n_frames(inputs.shape[-1])
        # A convolution over hops, their samples its channels: ten times as fast as one over samples. As many frames as
        # hops: the first and the last look past the ends.
        before = self.hop * ((self.overlap - 1) // 2)
        n_hops = n_frames + self.overlap - 1
        after = n_hops * self.hop - before - inputs.shape[-1]
        hops = functional.pad(inputs, (before, after)).view(-1, n_hops, self.hop)
        parts = functional.conv1d(hops.transpose(1, 2), self.waves)
        cosine, sine = parts.chunk(2, dim=1)
        bands = torch.log(self.mels @ (cosine * cosine + sine * sine) + FLOOR)
        whole, each = bands - _mean(bands.flatten(1))[..., None], bands - _mean(bands)
        # Channels last in memory: convolutions in bfloat16 take half the time.
        return torch.stack([_even(whole), _even(each)], -1).permute(0, 3, 1, 2)


def _even(bands: Tensor) -> Tensor:
    """(n, n_mels, n_frames) of mean 0, divided by their deviation; what hardly varies is not blown up."""
    return bands / _mean((bands * bands).flatten(1))[..., None].clamp(min=1e-2).sqrt()


def _mean(rows: Tensor) -> Tensor:
    """(..., d) to (..., 1), by a matrix product: see `row_sums`, which it resembles for its reason."""
    return (rows @ rows.new_full((rows.shape[-1], 2), 1 / rows.shape[-1]))[..., :1]
