"""Measured values as people read them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def with_interval(values: NDArray[np.float64]) -> str:
    """Mean and half the width of its 95% confidence interval: (n,) to `mean ± half`."""
    return f"{values.mean():.1f} ± {1.96 * values.std(ddof=1) / np.sqrt(len(values)):.1f}"
