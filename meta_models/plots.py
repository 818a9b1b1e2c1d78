"""Pictures of a run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from meta_models import jsonl

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save(figure: Figure, path: Path) -> None:
    """As a PNG file of 256 colours, a third as large."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=120)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def plot_log(run: Path) -> Path:
    """Training loss and development accuracy over outer steps, as `run/log.png`."""
    import matplotlib.pyplot as plt

    lines = jsonl.read(run / "log.jsonl")
    steps = [line["step"] for line in lines]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    trained = [line for line in lines if "loss" in line]
    left.plot([line["step"] for line in trained], [line["loss"] for line in trained], color="#345995")
    left.set(title="loss, training episodes", xlabel="outer step")
    for key in (k for k in lines[0] if k not in ("step", "seconds", "loss", "accuracy")):
        values = [100 * line[key] for line in lines]
        right.plot(steps, values, label=f"{key}: {values[-1]:.1f}")
    right.set(title="accuracy, development episodes (%)", xlabel="outer step")
    right.legend(frameon=False)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    figure.suptitle(run.name)
    save(figure, run / "log.png")
    plt.close(figure)
    return run / "log.png"
