"""Three choices about speed, each against its alternative in one run, on one thread.

- An outer step as it is, with freed memory handed back (not kept, `meta_models/memory.py`), and with channels first in
  memory (not last): CPU seconds, user and system apart, in turn, in processes of their own because the allocator is set
  for a whole process.
- Features of 25 pictures by the published graph, as the worker computes them, and by torch: milliseconds, in turn.

    python -m benchmarks.arithmetic
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from meta_models.algorithms import Episode, meta_loss
from meta_models.catalogue import Catalogue
from meta_models.memory import keep_freed_memory
from meta_models.recipe import load_recipe
from meta_models.serving import ServedModel
from meta_models.torch_model import TorchModel, as_floats, build_algorithm

NAME = "omniglot-protonet"
RESULTS = Path(__file__).parent / "results" / "arithmetic.json"
OUTER_STEPS = ("as_it_is", "memory_handed_back", "channels_first")


def outer_steps(n: int, order: torch.memory_format) -> dict[str, float]:
    """CPU seconds of a step of the recipe's episodes, forward and backward, in bfloat16."""
    recipe = load_recipe(NAME)
    algorithm = build_algorithm(recipe.algorithm, recipe.backbone, recipe.input.shape)
    spec = recipe.episode_specs[0]
    meta_params = {
        name: (t.clone(memory_format=order) if t.ndim == 4 else t).requires_grad_("running" not in name)
        for name, t in algorithm.init().items()
    }
    classes = torch.arange(spec.n_way)
    rows = classes.repeat(spec.n_shot + spec.n_query).numpy()
    images = as_floats(torch.from_numpy(recipe.input.examples(np.random.default_rng(0), rows)))
    images = images.clone(memory_format=order)
    support, query = images.split([spec.n_way * spec.n_shot, spec.n_way * spec.n_query])
    episode = Episode(
        support, classes.repeat_interleave(spec.n_shot), query, classes.repeat_interleave(spec.n_query), spec.n_way
    )

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = meta_loss(algorithm, meta_params, episode, training=True)
        loss.backward()

    step()
    before = os.times()
    for _ in range(n):
        step()
    after = os.times()
    return {"user_s": (after.user - before.user) / n, "system_s": (after.system - before.system) / n}


def features(rounds: int) -> dict[str, float]:
    """Median milliseconds for 25 pictures, graph and torch in turn."""
    published = Catalogue().resolve(NAME)
    served = ServedModel(published.folder, published.manifest)
    model = TorchModel.load(published.folder, published.manifest)
    inputs = published.manifest.input.examples(np.random.default_rng(0), np.arange(25) % 5)
    times: dict[str, list[float]] = {"graph_ms": [], "torch_ms": []}
    for _ in range(rounds + 3):
        for key, compute in (("graph_ms", served.features), ("torch_ms", model.features)):
            began = time.perf_counter()
            compute(inputs)
            times[key].append(1000 * (time.perf_counter() - began))
    return {key: round(float(np.median(values[3:])), 2) for key, values in times.items()}


def in_turn(rounds: int, steps: int) -> dict[str, dict[str, float]]:
    """Medians of `outer_steps`, one for each of `OUTER_STEPS`."""
    found: dict[str, list[dict[str, float]]] = {how: [] for how in OUTER_STEPS}
    for _ in range(rounds):
        for how, runs in found.items():
            command = [sys.executable, "-m", "benchmarks.arithmetic", "--steps", str(steps), "--only", how]
            runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))  # noqa: S603
    return {how: {k: round(float(np.median([r[k] for r in runs])), 3) for k in runs[0]} for how, runs in found.items()}


def main() -> None:
    """Measure them and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", choices=OUTER_STEPS, help="one process of the outer steps")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.only:
        if arguments.only != "memory_handed_back":
            keep_freed_memory()
        order = torch.contiguous_format if arguments.only == "channels_first" else torch.channels_last
        print(json.dumps(outer_steps(arguments.steps, order)))
        return
    found = {"outer_step": in_turn(arguments.rounds, arguments.steps), "features_of_25": features(40)}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    Console().print_json(data=found)


if __name__ == "__main__":
    main()
