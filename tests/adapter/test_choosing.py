"""The rule by which `auto` chooses: better by more than chance explains, or the default."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adapter.choosing import BEYOND_CHANCE, choose
from adapter.models import Adaptation, ClassCount, ModelSpec
from adapter.support_set import SupportSet, canonical
from meta_models.catalogue import Catalogue
from meta_models.inputs import Caps, DrawingSpec, PhotoSpec
from meta_models.serving import ServedModel
from meta_models.serving_path import ServingPath
from meta_models.torch_model import TorchModel
from tests.drawings import png
from tests.photos import INKS, inked

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
    return tuple(f"{name}@2" for name in names)


def test_a_better_one_is_chosen(paths: dict[str, ServingPath]) -> None:
    support = crosses(60)
    chosen, _ = choose(spec_of(support, references("vector-prototype", "vector-ridge")), support, paths)
    assert chosen.meta_model == "vector-ridge@2"
    assert chosen.selection is not None
    first, second = chosen.selection.tried
    assert second.difference > BEYOND_CHANCE * second.standard_error
    assert second.accuracy > first.accuracy
    assert chosen.weights != "w"
    assert choose(spec_of(support, references("vector-prototype", "vector-ridge")), support, paths)[0] == chosen


def test_the_default_stays_where_the_other_is_no_better(paths: dict[str, ServingPath]) -> None:
    support = crosses(60)
    chosen, _ = choose(spec_of(support, references("vector-ridge", "vector-prototype")), support, paths)
    assert chosen.meta_model == "vector-ridge@2"


def test_chance_chooses_the_default(paths: dict[str, ServingPath]) -> None:
    """Labels that mean nothing: another is taken about as often as one-sided 5% allow."""
    taken = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        support = canonical([f"class {y}" for y in np.arange(12) % 2], rng.normal(size=(12, 5)).astype(np.float32))
        chosen, _ = choose(spec_of(support, references("vector-prototype", "vector-ridge")), support, paths)
        taken += chosen.meta_model != "vector-prototype@2"
    assert taken <= 5


def test_candidates_that_are_not_here_are_passed_over(paths: dict[str, ServingPath]) -> None:
    support = crosses(5)
    chosen, _ = choose(spec_of(support, references("vector-prototype", "gone")), support, paths)
    assert chosen.selection is not None
    assert [trial.meta_model for trial in chosen.selection.tried] == ["vector-prototype@2"]


@pytest.fixture(scope="module")
def of_pictures() -> dict[str, ServingPath]:
    """The quick one of drawings, and the best of photographs."""
    found = [Catalogue().resolve(name) for name in ("omniglot-protonet", "photo")]
    return {
        p.manifest.reference: ServingPath(ServedModel(p.folder, p.manifest), TorchModel.load(p.folder, p.manifest))
        for p in found
    }


def read_twice(files: list[tuple[str, bytes]]) -> SupportSet:
    """As drawings, and beside that as photographs."""
    drawn, seen = (np.stack([spec.read(f, Caps()) for _, f in files]) for spec in (DrawingSpec(), PhotoSpec()))
    return canonical([label for label, _ in files], drawn, other=seen)


def test_another_kind_is_chosen_where_it_sees_what_the_default_cannot(of_pictures: dict[str, ServingPath]) -> None:
    support = read_twice([(ink, inked(ink, i)) for i in range(8) for ink in INKS])
    made, chosen = choose(spec_of(support, tuple(of_pictures)), support, of_pictures)
    assert made.selection is not None
    assert [t.meta_model for t in made.selection.tried] == list(of_pictures)
    assert made.meta_model == list(of_pictures)[1]
    # As if it had been named and the support set read for it alone.
    assert chosen.other is None
    alone = canonical(chosen.names, chosen.inputs)
    assert (chosen.example_ids, chosen.classes) == (alone.example_ids, alone.classes)
    assert made.input_shape == chosen.inputs.shape[1:] == PhotoSpec().shape
    assert [c.name for c in made.classes] == list(chosen.classes)
    assert made.weights == alone.weights_digest(made.meta_model, Adaptation().model_dump())


def test_the_default_kind_stays_where_the_other_is_no_better(of_pictures: dict[str, ServingPath]) -> None:
    support = read_twice([(str(kind), png(kind, i)) for i in range(5) for kind in range(3)])
    made, chosen = choose(spec_of(support, tuple(of_pictures)), support, of_pictures)
    assert made.meta_model == next(iter(of_pictures))
    assert chosen.other is None
    assert chosen.example_ids == support.example_ids


def test_a_kind_the_support_set_was_not_read_for_is_passed_over(of_pictures: dict[str, ServingPath]) -> None:
    support = replace(read_twice([(ink, inked(ink, i)) for i in range(8) for ink in INKS]), other=None)
    made, _ = choose(spec_of(support, tuple(of_pictures)), support, of_pictures)
    assert made.selection is not None
    assert [t.meta_model for t in made.selection.tried] == list(of_pictures)[:1]
