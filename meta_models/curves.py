"""The benchmark's curves as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from meta_models.benchmark import COUNTS, Row
from meta_models.manifest import Manifest
from meta_models.plots import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AXES = {
    "steps": "inner steps, 20-way 1-shot",
    "shots": "examples a class, 20-way",
    "imbalance": "examples of the five classes",
    "wrong labels": "share of wrong labels, 5-way 10-shot",
}
KINDS = ("compare or solve", "adapt a head in steps", "adapt the network")


def draw(rows: Iterable[Row], manifests: Iterable[Manifest], target: Path) -> None:
    """Accuracy against steps, shots, imbalance and wrong labels, with 95% intervals: a column for each, a row of panels
    for each kind of adaptation that was measured. Without a row of one of `manifests` nothing is drawn."""
    import matplotlib.pyplot as plt

    kind = {m.reference: _kind(m) for m in manifests}
    curves = [row for row in rows if row.curve in AXES and row.meta_model in kind]
    if not curves:
        return
    columns = [curve for curve in AXES if any(row.curve == curve for row in curves)]
    kinds = [k for k in KINDS if any(kind[row.meta_model] == k for row in curves)]
    size = (4.2 * len(columns) + 2.4, 3.2 * len(kinds))
    figure, grid = plt.subplots(len(kinds), len(columns), figsize=size, layout="constrained", squeeze=False)
    for panels, shown in zip(grid, kinds, strict=True):
        names = sorted({row.meta_model for row in curves if kind[row.meta_model] == shown})
        for axis, curve in zip(panels, columns, strict=True):
            axis.set_visible(any(row.curve == curve and row.meta_model in names for row in curves))
            for number, name in enumerate(names):
                colour = plt.colormaps["tab10"](number % 10)
                _curve(axis, [r for r in curves if (r.curve, r.meta_model) == (curve, name)], colour)
            _dress(axis, curve)
        handles = {str(h.get_label()): h for axis in panels for h in axis.get_legend_handles_labels()[0]}
        panels[-1].legend(
            handles.values(), handles.keys(), loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, title=shown
        )
        next(axis for axis in panels if axis.get_visible()).set(ylabel="accuracy, protocol L (%)")
    save(figure, target)
    plt.close(figure)


def _kind(manifest: Manifest) -> str:
    return KINDS[(1 if manifest.inner_loop else 0) if manifest.shares_body else 2]


def _curve(axis: Axes, points: Sequence[Row], colour: tuple[float, float, float, float]) -> None:
    if not points:
        return
    points = sorted(points, key=lambda row: row.x)
    x, y, ci95 = zip(*((row.x, row.accuracy, row.ci95) for row in points), strict=True)
    axis.errorbar(x, y, ci95, color=colour, label=points[0].meta_model, marker="o", markersize=3, elinewidth=0.7)


def _dress(axis: Axes, curve: str) -> None:
    axis.set(xlabel=AXES[curve])
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    if curve == "imbalance":
        axis.set_xticks(range(len(COUNTS)), ["\n".join(map(str, counts)) for counts in COUNTS], fontsize=7)
