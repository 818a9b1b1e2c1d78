"""The rule by which `auto` chooses: better by more than chance explains, or the default."""

from __future__ import annotations

import numpy as np
import pytest

from adapter.choosing import BEYOND_CHANCE, choose
from adapter.models import Adaptation, ClassCount, ModelSpec
from adapter.support_set import SupportSet, canonical
from meta_models.catalogue import Catalogue
from meta_models.serving import ServedModel
from meta_models.serving_path import ServingPath
from meta_models.torch_model import TorchModel

NAMES = ("vector-prototype", "vector-ridge", "vector-gradient")


@pytest.fixture(scope="module")
def paths() -> dict[str, ServingPath]:
    found = [Catalogue().resolve(name) for name in NAMES]
    return {
        p.manifest.reference: ServingPath(ServedModel(p.folder, p.manifest), TorchModel.load(p.folder, p.manifest))
        for p in found
    }


def crosses(n: int, seed: int = 0) -> SupportSet:
    """Two classes around the same centre, told apart by a third dimension that is tiny beside the noise of another:
    what one mean a class does worse than a regression."""
    rng = np.random.default_rng(seed)
    labels = np.arange(2 * n) % 2
    noise = rng.normal(size=2 * n)
    rows = np.stack([noise + 0.15 * (2 * labels - 1), noise, rng.normal(size=2 * n)], 1).astype(np.float32)
    return canonical([f"class {y}" for y in labels], rows)


def spec_of(support: SupportSet, candidates: tuple[str, ...]) -> ModelSpec:
    return ModelSpec(
        meta_model=candidates[0],
        modality="vector",
        classes=tuple(ClassCount(name=n, examples=c) for n, c in zip(support.classes, support.counts, strict=True)),
        adaptation=Adaptation(),
        digest="d",
        weights="w",
        candidates=candidates,
    )


def references(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}@1" for name in names)


def test_a_better_one_is_chosen(paths: dict[str, ServingPath]) -> None:
    support = crosses(60)
    chosen = choose(spec_of(support, references("vector-prototype", "vector-ridge")), support, paths)
    assert chosen.meta_model == "vector-ridge@1"
    assert chosen.selection is not None
    first, second = chosen.selection.tried
    assert second.difference > BEYOND_CHANCE * second.standard_error
    assert second.accuracy > first.accuracy
    assert chosen.weights != "w"
    assert choose(spec_of(support, references("vector-prototype", "vector-ridge")), support, paths) == chosen


def test_the_default_stays_where_the_other_is_no_better(paths: dict[str, ServingPath]) -> None:
    support = crosses(60)
    chosen = choose(spec_of(support, references("vector-ridge", "vector-prototype")), support, paths)
    assert chosen.meta_model == "vector-ridge@1"


def test_chance_chooses_the_default(paths: dict[str, ServingPath]) -> None:
    """Labels that mean nothing: another is taken about as often as one-sided 5% allow."""
    taken = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        support = canonical([f"class {y}" for y in np.arange(12) % 2], rng.normal(size=(12, 5)).astype(np.float32))
        chosen = choose(spec_of(support, references("vector-prototype", "vector-ridge")), support, paths)
        taken += chosen.meta_model != "vector-prototype@1"
    assert taken <= 5


def test_candidates_that_are_not_here_are_passed_over(paths: dict[str, ServingPath]) -> None:
    support = crosses(5)
    chosen = choose(spec_of(support, references("vector-prototype", "gone")), support, paths)
    assert chosen.selection is not None
    assert [trial.meta_model for trial in chosen.selection.tried] == ["vector-prototype@1"]
