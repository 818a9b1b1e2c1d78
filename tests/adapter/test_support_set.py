"""Canonical order, digests and the stored form."""

from __future__ import annotations

import numpy as np
import pytest

from adapter.errors import Unprocessable
from adapter.support_set import MAX_LABEL_LENGTH, canonical, check_labels, decode, encode
from meta_models.manifest import Limits

RNG = np.random.default_rng(0)
INPUTS = RNG.integers(0, 256, (6, 1, 4, 4), dtype=np.uint8)
LABELS = ["b", "a", "b", "c", "a", "b"]


def test_order_of_arrival_changes_nothing() -> None:
    order = [3, 1, 5, 0, 2, 4]
    one = canonical(LABELS, INPUTS)
    other = canonical([LABELS[i] for i in order], INPUTS[order])
    assert one.digest("m@1", {}) == other.digest("m@1", {})
    assert np.array_equal(one.inputs, other.inputs)
    assert one.classes == other.classes


def test_names_change_the_digest_but_not_the_weights() -> None:
    renamed = canonical([{"a": "z", "b": "y", "c": "x"}[label] for label in LABELS], INPUTS)
    plain = canonical(LABELS, INPUTS)
    assert np.array_equal(plain.inputs, renamed.inputs)
    assert plain.weights_digest("m@1", {}) == renamed.weights_digest("m@1", {})
    assert plain.digest("m@1", {}) != renamed.digest("m@1", {})


@pytest.mark.parametrize("change", ["meta_model", "settings", "label", "pixel", "extra"])
def test_everything_that_matters_changes_both_digests(change: str) -> None:
    labels, inputs, reference, settings = list(LABELS), INPUTS.copy(), "m@1", {"inner_steps": 5}
    if change == "meta_model":
        reference = "m@2"
    elif change == "settings":
        settings = {"inner_steps": 6}
    elif change == "label":
        labels[0] = "a"
    elif change == "pixel":
        inputs[0, 0, 0, 0] ^= 1
    else:
        labels, inputs = [*labels, "a"], np.concatenate([inputs, inputs[:1]])
    plain, changed = canonical(LABELS, INPUTS), canonical(labels, inputs)
    base = {"inner_steps": 5}
    assert plain.digest("m@1", base) != changed.digest(reference, settings)
    assert plain.weights_digest("m@1", base) != changed.weights_digest(reference, settings)


def test_stored_form_reads_back() -> None:
    plain = canonical(LABELS, INPUTS)
    again = decode(encode(plain))
    assert np.array_equal(plain.inputs, again.inputs)
    assert np.array_equal(plain.labels, again.labels)
    assert (plain.classes, plain.example_ids) == (again.classes, again.example_ids)


def test_counts_follow_the_canonical_order() -> None:
    plain = canonical(LABELS, INPUTS)
    assert dict(zip(plain.classes, plain.counts, strict=True)) == {"a": 2, "b": 3, "c": 1}


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        (["a"] * 5, "too_few_classes"),
        ([], "too_few_classes"),
        ([str(i) for i in range(201)], "too_many_classes"),
        (["a"] * 501 + ["b"], "too_many_examples"),
        ([f"{i % 100}" for i in range(5001)], "too_many_examples"),
        (["a", "  "], "bad_label"),
        (["a", "b\n"], "bad_label"),
        (["a", "b" * 201], "bad_label"),
        (["a", ".."], "bad_label"),
        (["a", "."], "bad_label"),
        (["a", "b\u200d"], "bad_label"),
        (["a", "\u200cb"], "bad_label"),
        (["a", "\u200c\u200d"], "bad_label"),
        (["a", "b\u200bc"], "bad_label"),
    ],
)
def test_unusable_labels_are_refused(labels: list[str], code: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        check_labels(labels, Limits())
    assert refused.value.code == code


def test_as_much_as_the_limits_say_is_taken() -> None:
    longest, crowd = "b" * MAX_LABEL_LENGTH, Limits(max_classes=3, max_examples_per_class=4, max_examples=6)
    check_labels([*4 * ["a"], longest, "c"], crowd)


def test_every_bad_label_is_named() -> None:
    with pytest.raises(Unprocessable) as refused:
        check_labels(["a", "", "b", "\x00"], Limits())
    assert [e.get("pointer") for e in refused.value.errors] == ["/support/1/label", "/support/3/label"]


@pytest.mark.parametrize(
    "label",
    ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0915\u094d\u200d\u0937", "\U0001f469\u200d\U0001f4bb"],
    ids=["Persian", "Devanagari", "emoji"],
)
def test_letters_may_be_joined_and_parted(label: str) -> None:
    check_labels([label, "a"], Limits())


@pytest.mark.parametrize(
    ("one", "other"), [("late", "late "), ("caf\u00e9", "cafe\u0301"), ("a b", "a  b"), ("ab", "a\u200cb")]
)
def test_labels_that_read_the_same_are_not_two_classes(one: str, other: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        check_labels([one, "c", one, other], Limits())
    assert [e.get("pointer") for e in refused.value.errors] == ["/support/3/label"]
    check_labels([other, "c", "C"], Limits())


def test_what_another_kind_reads_goes_along_and_counts() -> None:
    """Examples that look alike to one kind are told apart by the other, whatever their order."""
    inputs, other = np.zeros((4, 2), np.uint8), np.arange(4, dtype=np.uint8)[:, None]
    labels = ["a", "b", "a", "b"]
    one = canonical(labels, inputs, other=other)
    turned = canonical(labels[::-1], inputs[::-1], other=other[::-1])
    assert one.other is not None
    assert turned.other is not None
    assert (one.other == turned.other).all()
    assert one.digest("m", {}) == turned.digest("m", {})
    assert one.digest("m", {}) != canonical(labels, inputs, other=other[[0, 1, 1, 2]]).digest("m", {})
    assert one.digest("m", {}) != canonical(labels, inputs).digest("m", {})
    back = decode(encode(one))
    assert back.other is not None
    assert (back.other == one.other).all()
    assert sorted(zip(one.as_other().names, one.as_other().inputs[:, 0].tolist(), strict=True)) == [
        ("a", 0), ("a", 2), ("b", 1), ("b", 3),
    ]  # fmt: skip
