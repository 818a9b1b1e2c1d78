"""What an outer step takes: episodes of a meta-batch at once and one after the other, recorded and launched.

20-way one-shot episodes of noise, whose arithmetic is that of drawings; several recipes, several meta-batches.

    python -m benchmarks.meta_batch
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from meta_models import outer_step
from meta_models.datasets import ClassPool
from meta_models.outer_step import Learner
from meta_models.recipe import Recipe, load_recipe
from meta_models.torch_model import build_algorithm

RECIPES = ("omniglot-maml", "omniglot-meta-sgd", "omniglot-meta-curvature")
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=20, help="outer steps timed in each of the ways")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 4, 8, 16], help="episodes in a meta-batch")
    args = parser.parse_args()
    rows = [
        {"recipe": name, "episodes": size, **milliseconds(name, size, args.device, args.steps)}
        for name in RECIPES
        for size in args.sizes
    ]
    name = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    found = json.dumps({"device": name, "steps": args.steps, "milliseconds of an outer step": rows}, indent=1)
    (RESULTS / f"meta_batch_{args.device}.json").write_text(found + "\n")


def milliseconds(name: str, size: int, device: str, steps: int) -> dict[str, float]:
    """Milliseconds of an outer step in each of the ways, measured in turn."""
    recipe = load_recipe(name)
    recipe = recipe.model_copy(
        update={
            "episodes": {"n_way": 20, "n_shot": 1, "n_query": 5, "within_group": 0.0},
            "outer": recipe.outer.model_copy(update={"meta_batch_size": size}),
        }
    )
    ways = {"one after the other": (False, False), "at once": (True, False)}
    if device == "cuda":
        ways |= {"one after the other, recorded": (False, True), "at once, recorded": (True, True)}
    found = {way: round(1000 * _timed(recipe, device, steps, *how), 1) for way, how in ways.items()}
    print(f"{name}, {size} episodes: {found}", flush=True)
    return found


def _timed(recipe: Recipe, device: str, steps: int, at_once: bool, recorded: bool) -> float:
    place = torch.device(device)
    torch.manual_seed(0)
    algorithm = build_algorithm(recipe.algorithm, recipe.backbone, recipe.input.shape)
    meta_params = {name: t.to(place) for name, t in algorithm.init().items()}
    algorithm.backbone.to(place)
    inputs = np.random.default_rng(0).integers(0, 256, (60 * 20, 1, 28, 28)).astype(np.uint8)
    pool = ClassPool.by_label(inputs, np.repeat([f"class {i}" for i in range(60)], 20), np.arange(len(inputs)))
    names = [name for name in meta_params if not name.endswith(("running_mean", "running_var"))]
    known, outer_step.CAPTURABLE = outer_step.CAPTURABLE, frozenset({algorithm.name} if recorded else ())
    learner = Learner(algorithm, recipe, meta_params, names, (pool,), recipe.outer.outer_lr, 0.0)
    outer_step.CAPTURABLE = known
    learner.at_once = at_once
    for number in range(4):  # the first steps record
        learner.step(number)
    _wait(place)
    began = time.perf_counter()
    for number in range(4, 4 + steps):
        learner.step(number)
    _wait(place)
    return (time.perf_counter() - began) / steps


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
