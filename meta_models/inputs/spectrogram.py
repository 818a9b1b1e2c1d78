"""Samples to the logarithm of their power in bands that are even on the mel scale (Davis & Mermelstein 1980).

`meta_models/backbones/mel_conv.py` has the same in its graph, of the same numbers; this is for whoever draws it. Knows
numpy only.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

RATE, N_MELS, HOP, OVERLAP = 8000, 32, 0.016, 2
"""Samples a second, bands, seconds from one spectrum to the next, and how many such steps a spectrum is of."""

FLOOR = 1e-7
"""Of the power of a full-scale tone: what is quieter is as good as silence (-70 dB)."""

LOWEST = 20
"""Hertz, where the lowest band begins; the highest ends at half the rate."""


def log_mel(
    samples: NDArray[np.floating], rate: int = RATE, n_mels: int = N_MELS, hop: float = HOP, overlap: int = OVERLAP
) -> NDArray[np.float64]:
    """(n_samples,), full scale is 1, to (n_mels, n_samples // step), the lowest band first; at least log `FLOOR`."""
    step = round(hop * rate)
    # As many frames as hops: the first and the last look past the ends.
    n_hops = len(samples) // step + overlap - 1
    before = step * ((overlap - 1) // 2)
    padded = np.pad(samples, (before, max(0, n_hops * step - before - len(samples))))[: n_hops * step]
    frames = np.lib.stride_tricks.sliding_window_view(padded, step * overlap)[::step]
    cosine, sine = np.split(frames @ fourier(step * overlap).T, 2, axis=1)
    return np.log(mel_bands(rate, n_mels, step * overlap) @ (cosine**2 + sine**2).T + FLOOR)


def fourier(window: int) -> NDArray[np.float32]:
    """(2 n_bins, window) cosines, then sines, under a Hann window: a discrete Fourier transform.

    A tone of amplitude 1 in the middle of a bin has power 1.
    """
    time = np.arange(window, dtype=np.float64)
    hann = 0.5 - 0.5 * np.cos(2 * math.pi * (time + 0.5) / window)
    angles = 2 * math.pi * np.arange(window // 2 + 1, dtype=np.float64)[:, None] * time / window
    return (np.concatenate([np.cos(angles), np.sin(angles)]) * (hann * (2 / hann.sum()))).astype(np.float32)


def mel_bands(rate: int, n_mels: int, window: int) -> NDArray[np.float32]:
    """(n_mels, n_bins) overlapping triangles from `LOWEST` to half the rate; each sums to 1."""
    top, bottom = (2595 * math.log10(1 + hertz / 700) for hertz in (rate / 2, LOWEST))
    edges = 700 * (10 ** (np.linspace(bottom, top, n_mels + 2) / 2595) - 1)
    bins = np.arange(window // 2 + 1) * rate / window
    width = rate / window  # no triangle is narrower than a bin: it might miss them all
    centre = edges[1:-1, None]
    left, right = np.minimum(edges[:-2, None], centre - width), np.maximum(edges[2:, None], centre + width)
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clip(min=0)
    return (triangles / triangles.sum(1, keepdims=True)).astype(np.float32)
