"""Measured values as people read them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meta_models.measures import accuracy_reach


def with_interval(values: NDArray[np.float64]) -> str:
    """Mean and half the width of its 95% confidence interval: (n,) to `mean ± half`."""
    return f"{values.mean():.1f} ± {half_width(values):.1f}"


def figure(values: NDArray[np.float64]) -> dict[str, float]:
    """The same for scripts: accuracies (n,) in percent to their mean and half the width of its interval."""
    return {"accuracy": float(values.mean()), "ci95": half_width(values)}


def half_width(values: NDArray[np.float64]) -> float:
    """Of the 95% confidence interval of the mean of accuracies in percent."""
    return 100 * accuracy_reach(values / 100)
