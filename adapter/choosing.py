"""`meta_model: "auto"`: which of a modality's meta-models suits a support set, by cross-validation on it. No Redis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter.measure import FOLDS, GoOn, cross_validate, fold_of
from adapter.models import Adaptation, ModelSpec, Selection, Trial
from adapter.support_set import SupportSet
from meta_models.manifest import Manifest
from meta_models.measures import paired_centre
from meta_models.serving_path import ServingPath

BEYOND_CHANCE = 1.645
"""One-sided 5%: of candidates that are no better than the default about one in twenty passes for better. One standard
error let one in six pass, at a cost that `benchmarks.auto` saw: the default is the best that is known of its kind.
"""


def defaults(manifest: Manifest) -> Adaptation:
    """The settings that a meta-model adapts with where nobody asks for others."""
    inner = manifest.inner_loop
    return Adaptation() if inner is None else Adaptation(inner_steps=inner.inner_steps, inner_lr=inner.inner_lr)


def choose(
    spec: ModelSpec, support: SupportSet, paths: Mapping[str, ServingPath], go_on: GoOn | None = None
) -> tuple[ModelSpec, SupportSet]:
    """The spec with one of its candidates for good, and the support set as that one reads it; the same support set
    gives the same choice.

    Another than the default is taken where it is right more often by more than `BEYOND_CHANCE` standard errors of the
    difference, both asked about the same held-out examples. Candidates that this worker lacks are passed over, and so
    are those of another kind than the default where the support set was not read for them. `go_on` is called before
    each fold and each inner step, and may raise.
    """
    readings = _readings(spec, support, paths)
    candidates = [reference for reference in spec.candidates if reference in readings]
    right = {reference: _held_out(spec, readings[reference], paths[reference], go_on) for reference in candidates}
    default = right[candidates[0]]
    tried = tuple(_trial(reference, right[reference], default) for reference in candidates)
    better = [trial for trial in tried[1:] if trial.difference > BEYOND_CHANCE * trial.standard_error]
    best = max(better, key=lambda trial: trial.difference, default=tried[0])
    settings = defaults(paths[best.meta_model].served.manifest)
    # The rows that were compared are in the order of the default's reading; another has an order of its own.
    is_other = readings[best.meta_model].inputs is support.other
    chosen = support.as_other() if is_other else replace(support, other=None)
    counts = {c.name: c for c in spec.classes}
    made = spec.model_copy(
        update={
            "meta_model": best.meta_model,
            "input_shape": chosen.inputs.shape[1:],
            "classes": tuple(counts[name] for name in chosen.classes),
            "adaptation": settings,
            "weights": spec.weights
            if spec.ephemeral
            else chosen.weights_digest(best.meta_model, settings.model_dump()),
            "selection": Selection(folds=FOLDS, n=len(default), tried=tried),
        }
    )
    return made, chosen


def _readings(spec: ModelSpec, support: SupportSet, paths: Mapping[str, ServingPath]) -> dict[str, SupportSet]:
    """The support set as each candidate reads it, all in one order."""
    readings = [support] if support.other is None else [support, replace(support, inputs=support.other)]
    return {
        reference: reading
        for reference in spec.candidates
        if reference in paths
        for reading in readings
        if _fits(reading.inputs, paths[reference].served.manifest.input.shape)
    }


def _fits(inputs: NDArray[Any], shape: tuple[int | str, ...]) -> bool:
    """Whether (n, *shape) are inputs of that shape; a name stands for any size."""
    sizes = inputs.shape[1:]
    return len(sizes) == len(shape) and all(isinstance(b, str) or a == b for a, b in zip(sizes, shape, strict=True))


def _held_out(spec: ModelSpec, support: SupportSet, path: ServingPath, go_on: GoOn | None) -> NDArray[np.bool_]:
    """Whether each example that can be held out is given its class."""
    if max(fold_of(support)) < 0:
        return np.zeros(0, np.bool_)
    manifest = path.served.manifest
    temperature = manifest.calibration_for(len(spec.classes), spec.mean_shot).temperature
    features = path.support_features(support.inputs, support.labels)
    quality = cross_validate(path.torch_model, support, features, defaults(manifest), temperature, go_on)
    given = np.array(quality.given)
    return (given == support.labels)[given >= 0]


def _trial(reference: str, right: NDArray[np.bool_], default: NDArray[np.bool_]) -> Trial:
    n = len(right)
    gained, lost = int((right & ~default).sum()), int((default & ~right).sum())
    return Trial(
        meta_model=reference,
        accuracy=float(right.mean()) if n else 0.0,
        difference=(gained - lost) / n if n else 0.0,
        standard_error=paired_centre(lost, gained, n)[1],
    )
