"""Ten-way five-shot on real handwritten digits (scikit-learn's copy of the UCI set), through HTTP."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from innerloop.client import Client

N_WAY, N_SHOT, N_QUERY = 10, 5, 15
SHOWN = 12
"""Queries a class in the picture."""


@dataclass(frozen=True)
class Round:
    """One episode and its answers.

    Attributes:
        support: (10, 5) rows of the digits, query: (10, 15).
        results: answers to `query`, class by class.
        adapt_ms, predict_ms: as the client sees them; predict for one query by itself.
    """

    support: NDArray[np.int64]
    query: NDArray[np.int64]
    results: list[dict[str, Any]]
    adapt_ms: float
    predict_ms: float

    @property
    def right(self) -> NDArray[np.bool_]:
        """(10, 15) whether the best guess was the digit."""
        guesses = [int(r["scores"][0]["label"]) for r in self.results]
        return np.array(guesses).reshape(N_WAY, N_QUERY) == np.arange(N_WAY)[:, None]


class Digits:
    """1,797 pictures of 8×8 pixels."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        data: Any = load_digits()
        self.images: NDArray[np.uint8] = np.rint(data.images * (255 / 16)).astype(np.uint8)
        self.labels: NDArray[np.int64] = data.target

    def png(self, row: int) -> bytes:
        """One picture as a file, dark ink on white."""
        file = io.BytesIO()
        Image.fromarray(255 - self.images[row]).save(file, "PNG")
        return file.getvalue()


def play(client: Client, digits: Digits, seed: int) -> Round:
    """Adapt to five examples of each digit, then ask about fifteen others."""
    rng = np.random.default_rng(seed)
    drawn = np.stack(
        [rng.choice(np.flatnonzero(digits.labels == d), N_SHOT + N_QUERY, replace=False) for d in range(N_WAY)]
    )
    support, query = drawn[:, :N_SHOT], drawn[:, N_SHOT:]
    began = time.perf_counter()
    model = client.adapt([(str(d), digits.png(row)) for d in range(N_WAY) for row in support[d]], name=f"digits {seed}")
    adapt_ms = (time.perf_counter() - began) * 1000
    results = client.predict(model["id"], [digits.png(row) for row in query.ravel()])
    began = time.perf_counter()
    client.predict(model["id"], [digits.png(int(query[0, 0]))])
    predict_ms = (time.perf_counter() - began) * 1000
    client.delete(model["id"])
    return Round(support, query, results, adapt_ms, predict_ms)


def draw(digits: Digits, played: Round, title: str, target: Path) -> None:
    """Support set on the left, queries on the right: green right, red wrong with the answer, amber rejected."""
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    colours = {"right": "#2a9d5c", "wrong": "#d1495b", "rejected": "#e0a100"}
    columns = N_SHOT + 1 + SHOWN
    figure, axes = plt.subplots(
        N_WAY, columns, figsize=(0.62 * columns, 0.62 * N_WAY + 1.1), gridspec_kw={"wspace": 0.12, "hspace": 0.12}
    )
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for d in range(N_WAY):
        axes[d, 0].set_ylabel(str(d), rotation=0, labelpad=12, va="center", fontsize=13, fontweight="bold")
        for i in range(N_SHOT):
            axes[d, i].imshow(255 - digits.images[played.support[d, i]], cmap="gray", vmin=0, vmax=255)
        for j in range(SHOWN):
            axis, result = axes[d, N_SHOT + 1 + j], played.results[d * N_QUERY + j]
            axis.imshow(255 - digits.images[played.query[d, j]], cmap="gray", vmin=0, vmax=255)
            kind = "wrong" if not played.right[d, j] else "rejected" if result["rejected"] else "right"
            axis.spines[:].set(visible=True, color=colours[kind], linewidth=2.2)
            if kind == "wrong":
                guess = result["scores"][0]["label"]
                axis.text(
                    0.96, 0.05, guess, transform=axis.transAxes, ha="right", color=colours["wrong"], fontweight="bold"
                )
    axes[0, N_SHOT // 2].set_title("support set", fontsize=11, pad=10)
    axes[0, N_SHOT + 1 + SHOWN // 2].set_title("queries and answers", fontsize=11, pad=10)
    figure.suptitle(title, y=0.985, fontsize=12)
    handles = [Line2D([], [], color=c, linewidth=3, label=name) for name, c in colours.items()]
    labels = ["right", "wrong, with the answer given", "right, but rejected as unlike the support set"]
    figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(target, dpi=130, bbox_inches="tight", facecolor="white")
    plt.close(figure)
