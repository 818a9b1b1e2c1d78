"""Arithmetic of accuracy and confidence against figures known from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from innerloop.wording import figure, with_interval
from meta_models.measures import auroc, calibration_error, paired_difference, quantile95, student_reach, wilson


def test_calibration_error_and_auroc() -> None:
    sure_and_wrong = np.array([[1.0, 0.0]] * 4)
    assert calibration_error(sure_and_wrong, np.array([1, 1, 1, 1])) == pytest.approx(1.0)
    assert calibration_error(sure_and_wrong, np.array([0, 0, 0, 0])) == pytest.approx(0.0)
    both = np.array([[0.9, 0.1]] * 2 + [[0.6, 0.4]] * 2)
    assert calibration_error(both, np.array([1, 1, 0, 0])) == pytest.approx(0.65), "too sure here, too unsure there"
    high, low = np.array([2.0, 3.0], np.float32), np.array([1.0, 2.0], np.float32)
    assert auroc(high, low) == pytest.approx(0.875)


@pytest.mark.parametrize(
    ("n", "known"), [(2, 12.706), (3, 4.303), (4, 3.182), (5, 2.776), (10, 2.262), (20, 2.093), (1000, 1.962)]
)
def test_students_t(n: int, known: float) -> None:
    assert quantile95(n) == pytest.approx(known, abs=0.01)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (8, 10, 0.4902, 0.9433), (24, 25, 0.8046, 0.9929)],
)
def test_wilson(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=1e-3)


def test_wilson_holds_the_proportion_itself() -> None:
    for n in range(1, 60):
        for right in range(n + 1):
            low, high = wilson(right, n)
            assert 0 <= low <= right / n <= high <= 1


def test_paired_difference() -> None:
    difference, low, high = paired_difference(lost=3, gained=3, n=50)
    assert difference == 0
    assert low == pytest.approx(-high)
    none, low, high = paired_difference(lost=0, gained=0, n=10)
    assert none == 0
    assert low < 0 < high, "ten unchanged examples are no proof of no change"
    assert paired_difference(lost=0, gained=10, n=10) == (1.0, pytest.approx(0.52, abs=0.2), 1.0)
    much, low, _ = paired_difference(lost=1, gained=20, n=100)
    assert much == pytest.approx(0.19)
    assert low > 0


def test_rounds_that_all_came_out_alike_are_no_certainty() -> None:
    assert figure(np.full(20, 100.0)) == {"accuracy": 100.0, "ci95": pytest.approx(100 * (1 - wilson(20, 20)[0]))}
    assert with_interval(np.array([90.0, 100.0])) == "95.0 ± 63.5"
    assert student_reach(np.array([0.3])) == 0
