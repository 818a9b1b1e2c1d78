"""Random changes to training sounds, all of them to the samples; never applied to what is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class SoundAugmentSpec:
    """What happens to each sound by itself.

    Attributes:
        shift: largest move in time, as a share of the length.
        speed: largest relative change of speed, and with it of pitch.
        gain: largest change of loudness, dB.
        tilt: typical change of a band's loudness, dB: another microphone, another room.
        noise: most noise, as a share of the sound's own level; its colour is random.
        overdrive: most gain, dB, at which half of the sounds are clipped at full scale.
        time_mask: longest stretch that is silenced, as a share of the length.
        band_mask: widest band that is silenced, as a share of all frequencies (Park et al. 2019, arXiv:1904.08779).
    """

    shift: float = 0.0
    speed: float = 0.0
    gain: float = 0.0
    tilt: float = 0.0
    noise: float = 0.0
    overdrive: float = 0.0
    time_mask: float = 0.0
    band_mask: float = 0.0


_KNOTS = 8
"""Of the curve by which bands change."""


def turned(sounds: Tensor, symmetry: Tensor) -> Tensor:
    """Backwards where `symmetry` is odd: (n, 1, n_samples) and (n,) to (n, 1, n_samples)."""
    return torch.where((symmetry % 2 == 1)[:, None, None], sounds.flip(-1), sounds)


def random_sound(sounds: Tensor, spec: SoundAugmentSpec, generator: torch.Generator) -> Tensor:
    """(n, 1, n_samples), full scale is 1."""
    n, _, length = sounds.shape

    def uniform(low: float, high: float, size: int = 1) -> Tensor:
        return (torch.rand(n, size, generator=generator) * (high - low) + low).to(sounds.device)

    def normal(size: int) -> Tensor:
        return torch.randn(n, size, generator=generator).to(sounds.device)

    moved = _moved(sounds, 1 + uniform(-spec.speed, spec.speed), uniform(-spec.shift, spec.shift))
    spectrum = torch.fft.rfft(moved)
    n_bins = spectrum.shape[-1]
    level = spectrum.abs().pow(2).mean(1, keepdim=True).sqrt()
    # White to beyond pink: power falls by 0 to 6 dB an octave.
    place = torch.arange(n_bins, device=sounds.device) / n_bins
    colour = (place + 0.02).pow(-uniform(0, 1))
    colour = colour / colour.pow(2).mean(1, keepdim=True).sqrt()
    amount = spec.noise * uniform(0, 1).pow(2)
    noise = torch.complex(normal(n_bins), normal(n_bins)) * (math.sqrt(0.5) * level * amount * colour)
    curve = functional.interpolate(normal(_KNOTS)[:, None], n_bins, mode="linear", align_corners=True)[:, 0]
    spectrum = (spectrum + noise) * torch.pow(10, spec.tilt * curve / 20)
    spectrum = spectrum * ~_stretch(place, uniform(0, spec.band_mask), uniform(0, 1))
    found = torch.fft.irfft(spectrum, length)
    if spec.overdrive:
        driven = torch.pow(10, uniform(-spec.overdrive, spec.overdrive).clamp(min=0) / 20)
        peak = found.abs().amax(1, keepdim=True).clamp(min=1e-6)
        found = (found / peak * driven).clamp(-1, 1) * peak
    time = torch.arange(length, device=sounds.device) / length
    found = found * ~_stretch(time, uniform(0, spec.time_mask), uniform(0, 1))
    return (found * torch.pow(10, uniform(-spec.gain, spec.gain) / 20))[:, None]


def _moved(sounds: Tensor, speed: Tensor, shift: Tensor) -> Tensor:
    """(n, 1, length), (n, 1) and (n, 1) to (n, length): faster and moved, silence from beyond the ends."""
    length = sounds.shape[-1]
    time = torch.linspace(-1, 1, length, device=sounds.device)
    across = speed * time + 2 * shift
    grid = torch.stack([across, torch.zeros_like(across)], -1)[:, None]
    return functional.grid_sample(sounds[:, :, None], grid, align_corners=True)[:, 0, 0]


def _stretch(places: Tensor, width: Tensor, where: Tensor) -> Tensor:
    """(length,), (n, 1), (n, 1) to (n, length): true within a stretch of that width, anywhere."""
    start = where * (1 - width)
    return (places >= start) & (places < start + width)
