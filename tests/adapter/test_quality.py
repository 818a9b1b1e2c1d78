"""Held-out accuracy: the closed form against doing it the long way, and what is read off it."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from adapter.measure import FOLDS, cross_validate, fold_of, leave_one_out
from adapter.models import Adaptation, ClassCount
from adapter.quality import MOST_DOUBTED, Quality, compare, doubts, judge, twins
from adapter.support_set import SupportSet, canonical
from api.quality import word, word_comparison
from meta_models.algorithms.protonet import ProtoNet
from meta_models.catalogue import ZOO
from meta_models.manifest import read_manifest
from meta_models.torch_model import TorchModel
from tests.drawings import sketch

COUNTS = {"a": 6, "b": 1, "c": 3, "d": 2}


def a_support(counts: dict[str, int] = COUNTS, *, noise: float = 40) -> SupportSet:
    """Blurred sketches that a meta-model confuses now and then."""
    rng = np.random.default_rng(0)
    labels = [name for name, n in counts.items() for _ in range(n)]
    rows = [
        np.asarray(sketch(ord(name), example, 28), np.float64)[None] + rng.normal(0, noise, (1, 28, 28))
        for name, n in counts.items()
        for example in range(n)
    ]
    inputs = np.clip(np.stack(rows), 0, 255).astype(np.uint8)
    return canonical(labels, inputs, [f"/support/{i}" for i in range(len(labels))])


@pytest.fixture(scope="module", params=["omniglot-protonet", "omniglot-maml"])
def model(request: pytest.FixtureRequest) -> TorchModel:
    folder = ZOO / request.param
    return TorchModel.load(folder, read_manifest(folder))


@pytest.mark.parametrize("name", ["omniglot-protonet", "omniglot-views", "photo-resnet12", "euclidean", "tangents"])
def test_the_closed_form_is_adapting_without_each_example(name: str) -> None:
    folder = ZOO / {"euclidean": "omniglot-protonet", "tangents": "omniglot-protonet"}.get(name, name)
    model = TorchModel.load(folder, read_manifest(folder))
    if name in ("euclidean", "tangents"):
        assert isinstance(model.algorithm, ProtoNet)
        change = {"metric": "euclidean"} if name == "euclidean" else {"tangents": True}
        model = replace(model, algorithm=replace(model.algorithm, **change))
    support = a_support()
    if name == "photo-resnet12":
        padded = np.pad(support.inputs, ((0, 0), (0, 0), (2, 2), (2, 2)))
        support = replace(support, inputs=np.tile(padded, (1, 3, 1, 1)))
    features = model.support_features(support.inputs, support.labels)
    assert features.ndim == (3 if name == "tangents" else 2)
    logits = model.held_out(features, support.labels, 4)
    assert logits is not None
    counts = np.array(support.counts)
    for i, label in enumerate(support.labels):
        if counts[label] == 1:
            assert np.isnan(logits[i]).all()
            continue
        rest = np.arange(len(support.labels)) != i
        # Of a class of two the other one is not seen in views, as if it were not alone.
        without = model.adapt(features[rest], support.labels[rest], 4)
        np.testing.assert_allclose(logits[i], model.logits(without, features[i : i + 1])[0], rtol=1e-4, atol=1e-4)
    quality = leave_one_out(model, support, features, 1.0)
    assert quality is not None
    assert (quality.method, quality.folds) == ("leave_one_out", None)
    assert list(quality.given) == [
        -1 if counts[c] == 1 else row.argmax() for c, row in zip(support.labels, logits, strict=True)
    ]


def test_nothing_is_made_up_where_the_others_cancel() -> None:
    algorithm = ProtoNet(torch.nn.Identity())
    x = torch.nn.functional.normalize(torch.randn(3, 320, generator=torch.Generator().manual_seed(0)), dim=-1)
    x[1] = 1e-4 * x[1] - x[0]
    others = torch.nn.functional.normalize(x, dim=-1)
    labels, centre = torch.zeros(3, dtype=torch.int64), {"log_scale": torch.tensor(0.0)}
    logits = algorithm.held_out(centre, x, labels, 1)
    cosine = torch.nn.functional.cosine_similarity(others[2], others[0] + others[1], dim=0)
    assert float(logits[2, 0]) == pytest.approx(float(cosine), abs=5e-3)


def test_of_one_example_a_class_nothing_is_held_out() -> None:
    folder = ZOO / "omniglot-protonet"
    protonet = TorchModel.load(folder, read_manifest(folder))
    support = a_support({"a": 1, "b": 1})
    quality = leave_one_out(protonet, support, protonet.features(support.inputs), 1.0)
    assert quality is not None
    assert (quality.given, quality.calibration_error) == ((-1, -1), None)


def test_gradient_steps_have_no_closed_form(model: TorchModel) -> None:
    support = a_support()
    features = model.features(support.inputs)
    assert (leave_one_out(model, support, features, 1.0) is not None) == model.shares_body


def test_cross_validation_never_asks_about_what_it_saw(model: TorchModel) -> None:
    support = a_support()
    folds = fold_of(support)
    features = model.features(support.inputs)
    settings = Adaptation() if model.algorithm.inner is None else Adaptation(inner_steps=2, inner_lr=0.01)
    quality = cross_validate(model, support, features, settings, 1.0)
    zero = None if model.algorithm.inner is None else type(model.algorithm.inner)(0, 0.01)
    for fold in range(FOLDS):
        held = folds == fold
        if held.any():
            adapted = model.adapt(features[~held], support.labels[~held], 4, zero)
            expected = model.logits(adapted, features[held]).argmax(1)
            assert np.array(quality.given)[held].tolist() == expected.tolist()
    assert [g == -1 for g in quality.given] == (folds == -1).tolist()
    assert quality.folds == FOLDS
    assert quality.method == ("cross_validation" if model.shares_body else "cross_validation_without_inner_steps")


def test_cross_validation_can_be_stopped_between_folds(model: TorchModel) -> None:
    """Also where it takes no inner steps, which would be told of."""
    support = a_support()
    go_on = Mock(side_effect=[None, InterruptedError])
    with pytest.raises(InterruptedError):
        cross_validate(model, support, model.features(support.inputs), Adaptation(), 1.0, go_on)
    assert go_on.call_count == 2


@pytest.mark.parametrize("times", [2, 5])
def test_copies_count_once(model: TorchModel, times: int) -> None:
    """A table with repeated rows would know them by heart."""
    once = a_support()
    sent = canonical(once.names * times, np.tile(once.inputs, (times, 1, 1, 1)))
    features, settings = model.features(sent.inputs), Adaptation(inner_steps=0, inner_lr=0.01)
    found = leave_one_out(model, sent, features, 1.0) or cross_validate(model, sent, features, settings, 1.0)
    alone = leave_one_out(model, once, model.features(once.inputs), 1.0) or cross_validate(
        model, once, model.features(once.inputs), settings, 1.0
    )
    given = np.array(found.given)
    assert given[~sent.is_copy].tolist() == list(alone.given)
    assert (given[sent.is_copy] == -1).all()
    assert found.calibration_error == pytest.approx(alone.calibration_error, abs=1e-4)


def test_what_another_kind_of_meta_model_tells_apart_is_no_copy() -> None:
    same, colours = np.zeros((4, 1, 2, 2), np.uint8), np.arange(4, dtype=np.uint8).repeat(4).reshape(4, 1, 2, 2)
    assert canonical(list("aabb"), same).is_copy.tolist() == [False, True, False, True]
    assert not canonical(list("aabb"), same, other=colours).is_copy.any()


def test_folds_keep_every_class() -> None:
    support = a_support({"a": 1, "b": 2, "c": 12})
    folds = fold_of(support)
    for fold in range(FOLDS):
        assert set(support.labels[folds != fold]) == {0, 1, 2}
    spread = np.bincount(folds[support.labels == support.classes.index("c")])
    assert spread.max() - spread.min() <= 1


def by_hand(counts: dict[str, int], given: dict[str, str], sure: float = 4.0) -> tuple[SupportSet, Quality]:
    """A quality in which each class's last example is given another class."""
    support = a_support(counts)
    logits = np.zeros((len(support.labels), len(support.classes)), np.float32)
    for i, name in enumerate(support.names):
        last = i == len(support.labels) - 1 or support.names[i + 1] != name
        logits[i, support.classes.index(given.get(name, name) if last else name)] = sure
        if counts[name] == 1:
            logits[i] = np.nan
    return support, judge(support, logits, 1.0, "leave_one_out")


def counted(support: SupportSet) -> tuple[ClassCount, ...]:
    return tuple(ClassCount(name=n, examples=c) for n, c in zip(support.classes, support.counts, strict=True))


def test_figures_and_advice() -> None:
    support, quality = by_hand({"a": 6, "b": 1, "c": 2}, {"a": "c", "c": "a"})
    worded = word(quality, counted(support))
    assert (worded.n, worded.accuracy) == (8, 6 / 8)
    assert quality.calibration_error == pytest.approx(0.965 - 0.75, abs=0.001), "e⁴ to two classes' 1"
    assert worded.ci95 is not None
    assert worded.ci95 == pytest.approx((0.409, 0.929), abs=0.001)
    assert [(c.name, c.n, c.accuracy, c.mistaken_for) for c in worded.per_class] == [
        ("a", 6, 5 / 6, "c"),
        ("b", 0, None, None),
        ("c", 2, 0.5, "a"),
    ]
    assert worded.warnings[:2] == [
        "class 'b' has 1 example, which cannot check itself; add 4",
        "class 'c' has 2 examples; add 3",
    ]
    assert {(s.label, s.looks_like) for s in worded.suspicious} == {("a", "c"), ("c", "a")}
    assert all(s.source.startswith("/support/") for s in worded.suspicious)
    assert "2 examples look like another class; see suspicious" in worded.warnings


def test_unsure_mistakes_are_not_suspicious() -> None:
    support, _ = by_hand({"a": 6, "c": 6}, {})
    logits = np.zeros((12, 2), np.float32)
    logits[np.arange(12), support.labels] = 4.0
    logits[0] = 0.0
    logits[0, 1 - support.labels[0]] = 0.2
    assert judge(support, logits, 1.0, "leave_one_out").suspicious == ()


def test_a_mistake_is_measured_by_the_class_it_looks_like_and_the_surest_come_first() -> None:
    support, _ = by_hand({"a": 8, "c": 4, "d": 4}, {})
    first = {name: support.names.index(name) for name in "acd"}
    logits = np.zeros((16, 3), np.float32)
    logits[np.arange(16), support.labels] = np.array([6.0, 1.0, 6.0])[support.labels]
    logits[[first["a"], first["a"] + 1, first["c"]]] = [[0, 2.0, 0], [0, 0, 9.0], [1.5, 0, 0]]
    found = judge(support, logits, 1.0, "leave_one_out").suspicious
    assert [(s.label, s.looks_like, s.source) for s in found] == [
        (0, 2, support.sources[first["a"] + 1]),
        (0, 1, support.sources[first["a"]]),
    ]


def test_doubts_name_a_few_examples() -> None:
    support = a_support({"a": 12, "c": 12})
    few, many = np.arange(24) == 3, np.arange(24) < MOST_DOUBTED + 2
    found = doubts(support, {"blank": few, "cut": many, "loud": np.zeros(24, bool)})
    assert found[0] == f"blank: {support.sources[3]}"
    words, _, rest = found[1].partition(": ")
    named, _, more = rest.partition(" and ")
    assert (words, named.split(", "), more) == (
        "cut",
        sorted(support.sources[: MOST_DOUBTED + 2])[:MOST_DOUBTED],
        "2 more",
    )
    assert len(found) == 2


def test_nothing_to_hold_out() -> None:
    support, quality = by_hand({"a": 1, "b": 1}, {})
    worded = word(quality, counted(support))
    assert (worded.n, worded.accuracy, worded.ci95, worded.calibration_error) == (0, None, None, None)
    assert "accuracy cannot be measured" in worded.warnings[-1]


def test_many_small_classes_are_counted_not_listed() -> None:
    support, quality = by_hand(dict.fromkeys("abcdefgh", 2), {})
    warnings = word(quality, counted(support)).warnings
    assert len(warnings) == 6
    assert warnings[-1] == "3 more classes have fewer than 5 examples; add some to each"


def test_classes_that_share_an_example() -> None:
    inputs = np.stack([np.full((1, 4, 4), v, np.uint8) for v in (1, 2, 2, 3)])
    support = canonical(["a", "a", "b", "b"], inputs)
    quality = judge(support, np.eye(4, 2, dtype=np.float32), 1.0, "leave_one_out")
    quality = quality.model_copy(update={"twins": twins(support, support.inputs)})
    assert quality.twins == ((0, 1),), "no class is its own"
    assert "classes 'a' and 'b' share an example; remove it from one" in word(quality, counted(support)).warnings


def test_advice_spells_names_as_they_are() -> None:
    """Of joined emoji a `repr` would show the joints."""
    support, quality = by_hand({"a": 3, "c": 3}, {})
    names = ["класс 👩\u200d👩\u200d👧", "it's"]
    classes = tuple(ClassCount(name=name, examples=3) for name in names)
    mistaken = quality.model_copy(update={"given": (1, 1, 1, 1, 1, 1), "twins": ((0, 1),)})
    assert support.counts == (3, 3)
    warnings = "\n".join(word(mistaken, classes).warnings)
    assert f"class '{names[0]}' has 3 examples" in warnings
    assert f"class '{names[0]}' is mistaken in 3 of 3 cases, most often for 'it's'" in warnings
    assert f"classes 'it's' and '{names[0]}' share an example" in warnings


def test_before_and_after_compare_the_same_examples() -> None:
    old, before = by_hand({"a": 6, "c": 6}, {})
    new, after = by_hand({"a": 6, "c": 6, "e": 6}, {"a": "e", "c": "e"})
    common = compare(old, before, new, after)
    assert common is not None
    worded = word_comparison(common)
    assert (worded.n, worded.before, worded.after) == (12, 1.0, 10 / 12)
    assert worded.difference == pytest.approx(-2 / 12)
    assert worded.ci95[0] < worded.difference < worded.ci95[1]
    assert worded.verdict.endswith("within chance"), "two of twelve prove nothing"
    assert [(c.name, c.n, c.before, c.after) for c in worded.per_class] == [("a", 6, 1.0, 5 / 6), ("c", 6, 1.0, 5 / 6)]


def test_a_change_beyond_chance_is_called_one() -> None:
    old, before = by_hand({"a": 20, "c": 20}, {})
    worse = before.model_copy(update={"given": tuple([1 - g for g in before.given[:12]]) + before.given[12:]})
    lost, won = compare(old, before, old, worse), compare(old, worse, old, before)
    assert lost is not None
    assert won is not None
    assert word_comparison(lost).verdict == "the old classes got worse"
    assert word_comparison(won).verdict == "the old classes got better"
