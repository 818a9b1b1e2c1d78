"""Saves and restores a run exactly: tensors in safetensors, the step in its metadata."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from meta_models.algorithms import Tensors

CHECKPOINT, RECIPE, CLASSES = "checkpoint.safetensors", "recipe.json", "classes.json"
"""Files in a run's folder: how far it is, what it was told, and a digest of what it learns from."""


@dataclass
class TrainState:
    """All a run needs to go on as if it had never stopped; episodes depend on the step alone.

    Attributes:
        step: outer steps done.
        seconds: time spent so far.
        meta_params: what the optimiser moves.
        average: exponential average of `meta_params`, which is what gets published.
        moments: the optimiser's state, flattened to `<parameter>/<moment>`.
        hardware: what the last steps ran on.
        recent: running means of loss and accuracy, for people to watch; empty before the first step.
    """

    step: int
    seconds: float
    meta_params: Tensors
    average: Tensors
    moments: Tensors
    hardware: str = "CPU"
    recent: list[float] = field(default_factory=list)


def save(state: TrainState, path: Path) -> None:
    """Write atomically: an interrupted save leaves the previous checkpoint.

    Raises:
        OSError: it cannot be written; names the file.
    """
    parts = {"meta_params": state.meta_params, "average": state.average, "moments": state.moments}
    flat = {f"{part}|{name}": t.detach().contiguous() for part, tensors in parts.items() for name, t in tensors.items()}
    about = json.dumps({name: getattr(state, name) for name in ("step", "seconds", "hardware", "recent")})
    temporary = path.with_suffix(".tmp")
    try:
        save_file(flat, temporary, metadata={"run": about})
    except SafetensorError as error:  # which a full disk is too
        raise OSError(f"{path} cannot be written: {error}") from error
    temporary.replace(path)


def load(path: Path, device: torch.device) -> TrainState:
    """Read what `save` wrote; older checkpoints lack hardware and running means.

    Raises:
        ValueError: the file is damaged.
    """
    parts: dict[str, Tensors] = {"meta_params": {}, "average": {}, "moments": {}}
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            about = json.loads(file.metadata()["run"])
            for key in file.keys():  # noqa: SIM118 - not a dictionary
                part, name = key.split("|", 1)
                parts[part][name] = file.get_tensor(key)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove {path.parent} to begin again") from error
    since = {"hardware": about.get("hardware", "CPU"), "recent": about.get("recent", [])}
    return TrainState(about["step"], about["seconds"], **parts, **since)
