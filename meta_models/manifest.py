"""What a published meta-model says of itself."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from meta_models import between
from meta_models.inputs import InputSpec

MANIFEST_FILE = "manifest.json"
META_PARAMS_FILE = "meta_params.safetensors"
BODY_FILE = "body.onnx"
HEAD_FILE = "head.onnx"

NAME = r"^[a-z0-9][a-z0-9-]{1,40}$"
"""What a meta-model may be called."""


COMMITTED = "meta_models/recipes"
"""Where the recipes of this repository are, as cards name it."""


class ManifestError(ValueError):
    """A published folder is incomplete, damaged or from a newer format."""


class NotCalibratedError(ValueError):
    """No threshold was measured for a false-reject rate."""


FALSE_REJECT = 0.05
"""Share of known-class queries that `rejection_logit` may turn away."""

NEVER = -1e30
"""A rejection threshold below every logit; finite, so that JSON can carry it."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Part):
    """Support sets this meta-model accepts."""

    min_classes: int = 2
    max_classes: int = 200
    max_examples_per_class: int = 500
    max_examples: int = 5000


class InnerLoop(_Part):
    """Defaults of the inner loop and what a client may ask for instead."""

    inner_steps: int
    inner_lr: float
    max_inner_steps: int = 50
    max_inner_lr: float = 1.0


class Calibration(_Part):
    """Fitted on development episodes of one (n_way, n_shot).

    `rejection_logit`: 5% of the queries of a known class have no logit above it. `rejection_logits` says the same
    for other shares: (share, logit), ascending; older meta-models lack it.
    """

    n_way: int
    n_shot: int
    temperature: float
    rejection_logit: float
    expected_calibration_error: float
    unseen_auroc: float
    rejection_logits: tuple[tuple[float, float], ...] = ()

    def reject_below(self, false_reject: float | None) -> float:
        """The logit below which a query is rejected, for a target share of known-class queries; None takes 5%.

        Raises:
            NotCalibratedError: that share was not measured; the message names the range that was.
        """
        if false_reject is None:
            return self.rejection_logit
        if false_reject == 0:
            return NEVER
        measured_at = self.rejection_logits or ((FALSE_REJECT, self.rejection_logit),)
        shares, logits = [share for share, _ in measured_at], [logit for _, logit in measured_at]
        if not shares[0] <= false_reject <= shares[-1]:
            measured = f"{shares[0]} to {shares[-1]}" if len(shares) > 1 else f"{shares[0]} alone"
            raise NotCalibratedError(f"false-reject rates were measured for {measured}, not for {false_reject}")
        return float(np.interp(false_reject, shares, logits))


class Figure(_Part):
    """One measured accuracy: mean over episodes and half the width of its 95% confidence interval."""

    protocol: str
    n_way: int
    n_shot: int
    n_query: int
    accuracy: float
    ci95: float
    episodes: int
    seed: int
    inner_steps: int | None = None
    calibration_error: float | None = None
    """Expected calibration error of the served probabilities, in percent; older meta-models lack it."""
    inductive: Literal[True] = True
    path: Literal["serving"] = "serving"
    command: str


class RecipeFile(_Part):
    """A recipe's file, named as `Training.recipe` names it, and the sha256 of its bytes."""

    file: str
    sha256: str


class Training(_Part):
    """Where the weights come from."""

    recipe: str
    recipe_files: tuple[RecipeFile, ...] = ()
    """What was read for it: its own file, its base, the base of that, and so on; older meta-models lack it."""
    data: str
    licence: str
    source: str
    steps: int
    minutes: float
    hardware: str
    notes: str = ""
    development_accuracy: float | None = None
    """Percent, mean over the recipe's settings; what the default of a kind is chosen by."""


class Manifest(_Part):
    """A published meta-model: `manifest.json` in its folder."""

    format: Literal[1] = 1
    name: Annotated[str, Field(pattern=NAME)]
    version: int
    description: str
    algorithm: dict[str, Any]
    backbone: dict[str, Any]
    input: InputSpec
    limits: Limits = Limits()
    inner_loop: InnerLoop | None
    shares_body: bool
    """True: `body.onnx` serves every adapted model and `head.onnx` reads its features; False: no body."""
    adapted_tensors: dict[str, tuple[int | str, ...]]
    """Names and shapes of the head's extra graph inputs; "n_way" marks an axis of classes, "n_support" one of
    support examples."""
    calibration: tuple[Calibration, ...]
    benchmarks: tuple[Figure, ...]
    training: Training
    files: dict[str, str]
    """sha256 of every other file of the folder."""

    @property
    def reference(self) -> str:
        """`name@version`, as answers and digests name it."""
        return f"{self.name}@{self.version}"

    @property
    def files_digest(self) -> str:
        """What tells this folder from another of the same name and version."""
        return hashlib.sha256("".join(sorted(self.files.values())).encode()).hexdigest()

    @property
    def modality(self) -> str:
        return self.input.modality

    def calibration_for(self, n_way: int, n_shot: float) -> Calibration:
        """Temperature and rejection logits for these classes and mean examples a class, between those of the entries.
        Its n_way, n_shot and what was measured with them are those of one entry beside."""
        entries = self.calibration
        ramps = between.ramps(tuple((entry.n_way, entry.n_shot) for entry in entries))
        of = between.weights(ramps, math.log(n_way), 1 / max(n_shot, 1))
        nearest = entries[int(np.argmax(of))]
        shares = [share for share, _ in nearest.rejection_logits]
        same = all([share for share, _ in entry.rejection_logits] == shares for entry in entries)
        logits = of @ np.array([[logit for _, logit in entry.rejection_logits] for entry in entries]) if same else ()
        return nearest.model_copy(
            update={
                "temperature": math.exp(of @ np.log([entry.temperature for entry in entries])),
                "rejection_logit": float(of @ np.array([entry.rejection_logit for entry in entries])),
                "rejection_logits": tuple(zip(shares, map(float, logits), strict=False)),
            }
        )


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read and verify a published folder.

    Raises:
        ManifestError: says which file is missing or damaged.
    """
    path = folder / MANIFEST_FILE
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ManifestError(f"{folder} has no {MANIFEST_FILE}") from error
    except ValueError as error:
        raise ManifestError(f"{path}: {error}") from error
    check_files(folder, manifest)
    return manifest.model_copy(update={"input": manifest.input.located(folder)})


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raises ManifestError where a file is missing or is not the published one."""
    for name, expected in manifest.files.items():
        file = folder / name
        if not file.is_file():
            raise ManifestError(f"{folder} lacks {name}, which its manifest lists")
        if sha256(file) != expected:
            raise ManifestError(f"{file} is not the published one: its sha256 differs from the manifest's")
