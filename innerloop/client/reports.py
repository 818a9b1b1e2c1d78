"""Adds up the server's evaluations of parts of a query set: counts are summed, figures follow from the sums."""

from __future__ import annotations

import math
from typing import Any


def merged(reports: list[dict[str, Any]], starts: list[int]) -> dict[str, Any]:
    """One report of several, of the same version of a model.

    Args:
        reports: as the server gave them.
        starts: number of the first query of each.
    """
    if len(reports) == 1:
        return reports[0]
    names: list[str] = reports[0]["confusion_matrix"]["labels"]
    matrices = [report["confusion_matrix"]["counts"] for report in reports]
    counts = [[sum(m[i][j] for m in matrices) for j in range(len(names))] for i in range(len(names))]
    n = sum(report["n"] for report in reports)
    right = sum(counts[i][i] for i in range(len(names)))
    return {
        **reports[0],
        "n": n,
        "accuracy": right / n if n else None,
        "ci95": _wilson(right, n) if n else None,
        "rejected": sum(report["rejected"] for report in reports),
        "per_class": [_of_class(i, names, counts) for i in range(len(names))],
        "confusion_matrix": {"labels": names, "counts": counts},
        "calibration": _calibration([r["calibration"] for r in reports if r["calibration"]], n),
        "unreadable": [
            {**query, "index": query["index"] + start}
            for report, start in zip(reports, starts, strict=True)
            for query in report["unreadable"]
        ],
    }


def _of_class(i: int, names: list[str], counts: list[list[int]]) -> dict[str, Any]:
    right, own, given = counts[i][i], sum(counts[i]), sum(row[i] for row in counts)
    wrong = [0 if j == i else count for j, count in enumerate(counts[i])]
    return {
        "name": names[i],
        "n": own,
        "recall": right / own if own else None,
        "ci95": _wilson(right, own) if own else None,
        "precision": right / given if given else None,
        "f1": 2 * right / (own + given) if own + given else None,
        "mistaken_for": names[wrong.index(max(wrong))] if any(wrong) else None,
    }


def _calibration(reports: list[dict[str, Any]], n: int) -> dict[str, Any] | None:
    """Bins with the same bounds become one; means are weighted by their queries."""
    bins: dict[float, dict[str, Any]] = {}
    for found in (b for report in reports for b in report["bins"]):
        known = bins.get(found["low"])
        if known is None:
            bins[found["low"]] = found
            continue
        both = known["n"] + found["n"]
        means = {k: (known[k] * known["n"] + found[k] * found["n"]) / both for k in ("confidence", "accuracy")}
        bins[found["low"]] = {**known, "n": both, **means}
    if not bins:
        return None
    error = sum(b["n"] * abs(b["confidence"] - b["accuracy"]) for b in bins.values()) / n
    return {"expected_calibration_error": error, "bins": [bins[low] for low in sorted(bins)]}


def _wilson(right: int, n: int) -> tuple[float, float]:
    """95% interval of a share (Wilson 1927), as the server reckons it."""
    z, share = 1.96, right / n
    centre, reach = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = ((centre + side * reach) / (1 + z * z / n) for side in (-1, 1))
    return (low if right else 0.0, high if right < n else 1.0)
