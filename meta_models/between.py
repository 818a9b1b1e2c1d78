"""Calibration between the settings that were measured: arithmetic that numpy and traced graphs share.

What the best logit of a query is drifts with the noise of class means, whose variance falls as 1 / n_shot, and with the
number of rivals, of which the largest of n grows about as log n_way. So entries are weighed linearly in both.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


@lru_cache
def ramps(settings: tuple[tuple[int, int], ...]) -> NDArray[np.float64]:
    """(4, 3, n) for n settings (n_way, n_shot): what `weights` adds up. A ramp is an offset, a slope and the most it
    reaches; each setting has one that rises and one that falls with log n_way, and two with 1 / n_shot."""
    found = np.zeros((4, 3, len(settings)))
    ways = sorted({n_way for n_way, _ in settings})
    for i, (n_way, n_shot) in enumerate(settings):
        shots = sorted(shot for way, shot in settings if way == n_way)
        knots = [1 / shot for shot in shots]
        found[:2, :, i] = _around(list(np.log(ways)), ways.index(n_way))
        # With more examples than were measured the last piece goes on, to 1 / n_shot = 0.
        found[2:, :, i] = _around(knots, shots.index(n_shot), end=0.0)
    found.setflags(write=False)  # it is kept
    return found


def weights(ramps: Any, log_n_way: Any, inverse_shot: Any) -> Any:
    """(n,) weight of each setting, which sum to 1. Arrays of numpy or of torch.

    Args:
        ramps: of `ramps`.
        log_n_way: logarithm of the number of classes; beyond the settings' it counts as the nearest of theirs.
        inverse_shot: 1 / examples a class, at most 1.
    """
    rise, fall, begin, end = (
        (offset + slope * x).clip(0 * most, most)
        for (offset, slope, most), x in zip(ramps, (log_n_way, log_n_way, inverse_shot, inverse_shot), strict=True)
    )
    return (rise - fall) * (begin - end)


def _around(knots: list[float], at: int, end: float | None = None) -> list[list[float]]:
    """The ramp that reaches 1 at `knots[at]`, and the one that begins there. `end`: how far the last piece goes on."""
    pieces = [_piece(a, b, b) for a, b in itertools.pairwise(knots)]
    if pieces and end is not None:
        pieces[-1] = _piece(knots[-2], knots[-1], end)
    return [[1.0, 0.0, 1.0], *pieces, [0.0, 0.0, 0.0]][at : at + 2]


def _piece(a: float, b: float, end: float) -> list[float]:
    """From 0 at `a` over 1 at `b` on to `end`."""
    return [-a / (b - a), 1 / (b - a), (end - a) / (b - a)]
