"""The architecture learned: search for a cell, draw it, and give it the width at which it costs what Conv4 costs.

    python -m benchmarks.cell_search --data data

A second run goes on where the first was interrupted. The edges and the width that it prints are those of
`meta_models/recipes/omniglot-cell.toml`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from meta_models.backbones.cells import OPERATIONS, Cells, Edge, strongest
from meta_models.backbones.conv4 import Conv4
from meta_models.inputs import DrawingSpec
from meta_models.meta_train import meta_train
from meta_models.plots import plot_log, save
from meta_models.recipe import load_recipe
from meta_models.sources import load_splits

RECIPE = "omniglot-cell-search"
RESULTS = Path(__file__).parent / "results" / "cell.json"
PICTURE = Path(__file__).parents[1] / "docs" / "plots" / "cell.png"


def flops(backbone: nn.Module, shape: tuple[int, int, int]) -> int:
    """Floating-point operations of one example's convolutions."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone.eval()(torch.zeros(1, *shape))
    return counter.get_total_flops()


def widest(edges: list[Edge], shape: tuple[int, int, int], most: int) -> int:
    """The largest multiple of four channels at which the cell costs at most `most` operations."""
    return max(w for w in range(4, 257, 4) if flops(Cells(shape, edges, w), shape) <= most)


def draw(edges: list[Edge], target: Path) -> None:
    """Nodes on a line, edges as arcs that name their operation."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyArrowPatch

    n_nodes = max(end for _, end, _ in edges) + 1
    names = ["input", *(f"node {i}" for i in range(1, n_nodes - 1)), "output"]
    figure, axis = plt.subplots(figsize=(2.6 * n_nodes, 2.6), layout="constrained")
    for start, end, operation in edges:
        bend = -0.45 if end - start > 1 else 0.0
        arrow = FancyArrowPatch(
            (start + 0.16, 0),
            (end - 0.16, 0),
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            mutation_scale=16,
            color="tab:blue",
        )
        axis.add_patch(arrow)
        height = 0.05 + (0.18 * (end - start) if bend else 0.0)
        axis.text((start + end) / 2, height, operation, ha="center", va="center", color="tab:blue", fontsize=11)
    for node, name in enumerate(names):
        axis.text(node, 0, name, ha="center", va="center", bbox={"boxstyle": "round", "fc": "white", "ec": "0.4"})
    axis.set(xlim=(-0.4, n_nodes - 0.6), ylim=(-0.15, 0.7))
    axis.axis("off")
    save(figure, target)
    plt.close(figure)


def main() -> None:
    """Search, draw, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    recipe = load_recipe(RECIPE)
    run, console = arguments.runs / RECIPE, Console()
    with Progress(console=console) as progress:
        bar = progress.add_task("searching", total=recipe.outer.steps)
        model = meta_train(
            recipe,
            load_splits(arguments.data, recipe),
            run,
            on_progress=lambda step, _: progress.update(bar, completed=step),
        )
    plot_log(run)
    alpha = model.meta_params["backbone.alpha"].cpu()
    edges, shape = list(strongest(alpha)), DrawingSpec.model_validate(recipe.input.model_dump()).shape
    conv4 = flops(Conv4(shape), shape)
    width = widest(edges, shape, conv4)
    found: dict[str, Any] = {
        "edges": edges,
        "width": width,
        "flops": flops(Cells(shape, edges, width), shape),
        "conv4_flops": conv4,
        "operations": list(OPERATIONS),
        "weights": [[round(float(w), 4) for w in row] for row in alpha.softmax(1)],
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    draw(edges, PICTURE)
    console.print_json(data=found)
    console.print(f"drawn: {PICTURE}", soft_wrap=True)


if __name__ == "__main__":
    main()
