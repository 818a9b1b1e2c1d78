"""Arithmetic of accuracy and confidence. Knows numpy only, so that API, worker and training share it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Z95 = 1.96
"""Standard normal quantile of a two-sided 95% interval."""

T95 = {1: 12.706, 2: 4.303, 3: 3.182}
"""Student's t for a two-sided 95% interval, by degrees of freedom, where its expansion is not near."""

CALIBRATION_BINS = 15


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    """(n, n_way) logits to rows that sum to 1."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(1, keepdims=True)
    exponentials = np.exp(scaled)
    return exponentials / exponentials.sum(1, keepdims=True)


def quantile95(n: int) -> float:
    """Student's t for a two-sided 95% interval of the mean of n values, n at least 2, right to 0.01: from n = 5 on the
    first terms of its expansion in 1/(n - 1) (Abramowitz & Stegun 26.7.5)."""
    z, f = Z95, n - 1
    if f in T95:
        return T95[f]
    second, third = 5 * z**5 + 16 * z**3 + 3 * z, 3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z
    return z + (z**3 + z) / (4 * f) + second / (96 * f**2) + third / (384 * f**3)


def student_reach(values: NDArray[np.float64]) -> float:
    """Half the width of the 95% confidence interval of the mean of (n,) values, by Student's t; of one value 0."""
    n = len(values)
    return quantile95(n) * float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0


def accuracy_reach(values: NDArray[np.float64]) -> float:
    """The same of (n,) accuracies in [0, 1].

    Episodes that all came out alike tell nothing of their spread, and there it is as far as Wilson's interval for as
    many yes or no answers reaches. Those spread wider than any others in [0, 1] of their mean, so it is wide enough
    however much the queries of an episode, which share its support set, go together.
    """
    if np.ptp(values) > 0:
        return student_reach(values)
    mean = float(values.mean())
    low, high = wilson(mean * len(values), len(values))
    return max(mean - low, high - mean)


def wilson(right: float, n: int) -> tuple[float, float]:
    """95% confidence interval of a proportion (Wilson 1927), of n things or of n shares with the sum `right`; n at
    least 1."""
    z, p = Z95, right / n
    centre, reach = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((centre + side * reach) / (1 + z * z / n) for side in (-1, 1))
    # Exact at the ends, where rounding would exclude the proportion itself.
    return (low if right else 0.0, high if right < n else 1.0)


def paired_difference(lost: int, gained: int, n: int) -> tuple[float, float, float]:
    """Difference of two proportions measured on the same n things, with its 95% confidence interval.

    Args:
        lost: right before, wrong after.
        gained: wrong before, right after.
        n: all of them, at least 1.

    The interval stands around `paired_centre`.
    """
    centre, error = paired_centre(lost, gained, n)
    return (gained - lost) / n, max(-1.0, centre - Z95 * error), min(1.0, centre + Z95 * error)


def paired_centre(lost: int, gained: int, n: int) -> tuple[float, float]:
    """Centre and standard error of that difference, with half a thing more in each cell of the 2×2 table (Agresti & Min
    2005, doi:10.1002/sim.1781), so that they stay honest where nothing changed; n may be 0."""
    b, c, total = lost + 0.5, gained + 0.5, n + 2
    return (c - b) / total, math.sqrt(b + c - (c - b) ** 2 / total) / total


def calibration_bins(confidence: NDArray[np.float64], n_bins: int = CALIBRATION_BINS) -> NDArray[np.int64]:
    """(n,) which of `n_bins` bins of equal width each confidence falls into."""
    return np.minimum((confidence * n_bins).astype(np.int64), n_bins - 1)


def calibration_error(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], n_bins: int = CALIBRATION_BINS
) -> float:
    """Expected calibration error over equal-width bins (Guo et al. 2017, arXiv:1706.04599, eq. 3)."""
    return confidence_gap(probabilities.max(1), probabilities.argmax(1) == labels, n_bins)


def confidence_gap(confidence: NDArray[np.float64], right: NDArray[np.bool_], n_bins: int = CALIBRATION_BINS) -> float:
    """The same from the confidence (n,) of each answer and whether it was right (n,)."""
    bins = calibration_bins(confidence, n_bins)
    counts = np.bincount(bins, minlength=n_bins)
    sums = np.bincount(bins, confidence - right, minlength=n_bins)
    return float(np.abs(sums).sum() / counts.sum())


def auroc(positive: NDArray[np.float32], negative: NDArray[np.float32]) -> float:
    """Probability that a positive scores above a negative, ties counted half."""
    negative = np.sort(negative)
    below = np.searchsorted(negative, positive, "left")
    not_above = np.searchsorted(negative, positive, "right")
    return float((below + not_above).mean() / (2 * len(negative)))
