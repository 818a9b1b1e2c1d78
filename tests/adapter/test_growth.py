"""Support sets that change: what comes, what goes, and what stays the same."""

from __future__ import annotations

import numpy as np
import pytest

from adapter.errors import NotFound, NotReady, Unprocessable
from adapter.growth import add_examples, remove_class, remove_example, rename_class
from adapter.quality import example_name
from adapter.support_set import SupportSet, canonical
from meta_models.inputs import TextSpec

INPUTS = np.stack([np.full((1, 4, 4), value, np.uint8) for value in range(10)])


def of(labels: str, *rows: int) -> SupportSet:
    chosen = list(rows or range(len(labels)))
    return canonical(list(labels), INPUTS[chosen], [f"/support/{i}" for i in chosen])


def same(a: SupportSet, b: SupportSet) -> bool:
    return (a.content, a.classes) == (b.content, b.classes) and np.array_equal(a.inputs, b.inputs)


def test_growing_equals_having_had_it_from_the_start() -> None:
    grown = add_examples(of("aab"), ["b", "c"], INPUTS[3:5], ["/examples/0", "/examples/1"])
    assert same(grown, of("aabbc"))
    assert grown.sources[grown.names.index("c")] == "/examples/1"


def test_examples_that_are_there_already_add_nothing() -> None:
    support = of("aab")
    assert add_examples(support, ["a", "a"], INPUTS[[1, 1]], ["", ""]) is support
    twice = add_examples(support, ["b", "b"], INPUTS[[5, 5]], ["", ""])
    assert same(twice, of("aabb", 0, 1, 2, 5))
    moved = add_examples(support, ["b"], INPUTS[:1], [""])
    assert moved.counts != support.counts, "the same picture in another class is another example"


def test_an_example_is_there_whatever_its_class_was_called_when_it_came() -> None:
    """Rows of texts hold the name of their class."""
    spec = TextSpec(max_tokens=4, name_tokens=4)
    rows = np.array([[text] * 4 + [name] * 4 for text, name in ((1, 7), (2, 8), (1, 9), (3, 9))], np.int32)
    support = rename_class(canonical(["late", "refund"], rows[:2]), "late", "delayed")
    assert add_examples(support, ["delayed"], rows[2:3], [""], spec.unnamed) is support
    grown = add_examples(support, ["delayed", "delayed"], rows[2:], ["", ""], spec.unnamed)
    assert dict(zip(grown.classes, grown.counts, strict=True)) == {"delayed": 2, "refund": 1}


def test_removing_an_example() -> None:
    support = of("aabb")
    name = example_name(support.example_ids[support.names.index("a")])
    assert sorted(remove_example(support, name).names) == ["a", "b", "b"]
    with pytest.raises(NotFound, match="no example 'ex_none'"):
        remove_example(support, "ex_none")


def test_an_example_of_two_classes_leaves_both_or_the_one_named() -> None:
    support = of("aabb", 0, 1, 0, 2)
    name = example_name(support.example_ids[list(support.inputs[:, 0, 0, 0]).index(0)])
    assert sorted(remove_example(support, name).names) == ["a", "b"]
    assert sorted(remove_example(support, name, "b").names) == ["a", "a", "b"]
    with pytest.raises(NotFound, match="in class 'c'"):
        remove_example(support, name, "c")


def test_the_last_example_takes_its_class_along() -> None:
    support = of("aabc")
    name = example_name(support.example_ids[support.names.index("c")])
    assert set(remove_example(support, name).classes) == {"a", "b"}


def test_removing_a_class() -> None:
    assert same(remove_class(of("aabbc"), "c"), of("aabb"))
    with pytest.raises(NotFound, match=r"no class 'z'; there are a, b"):
        remove_class(of("ab"), "z")
    with pytest.raises(Unprocessable, match="delete the model"):
        remove_class(of("aa"), "a")


def test_renaming_keeps_the_tensors() -> None:
    support = of("aabbc")
    renamed = rename_class(support, "b", "z")
    assert renamed.weights_digest("m@1", {}) == support.weights_digest("m@1", {})
    assert renamed.digest("m@1", {}) != support.digest("m@1", {})
    assert [("z" if name == "b" else name) for name in support.classes] == list(renamed.classes)


@pytest.mark.parametrize(
    ("old", "new", "code"), [("a", "b", "class_exists"), ("a", " ", "bad_label"), ("a", "b ", "bad_label")]
)
def test_names_that_cannot_be_given(old: str, new: str, code: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        rename_class(of("ab"), old, new)
    assert refused.value.code == code


def test_a_class_may_be_written_in_another_way() -> None:
    assert set(rename_class(of("ab"), "a", "a ").classes) == {"a ", "b"}


@pytest.mark.parametrize(("there", "new"), [("caf\u00e9", "cafe\u0301"), ("a", "a ")])
def test_a_label_that_reads_as_a_class_of_the_model_does_is_no_new_class(there: str, new: str) -> None:
    support = canonical([there, "c"], INPUTS[:2])
    assert add_examples(support, [there, "d"], INPUTS[2:4], ["", ""]).classes
    with pytest.raises(Unprocessable) as refused:
        add_examples(support, [there, new], INPUTS[2:4], ["", ""])
    assert [(e.get("code"), e.get("pointer")) for e in refused.value.errors] == [("bad_label", "/examples/1/label")]


def test_classes_that_read_the_same_since_long_ago_still_grow() -> None:
    both = canonical(["a", "a "], INPUTS[:2])
    assert add_examples(both, ["a", "a "], INPUTS[2:4], ["", ""]).counts == (2, 2)


def test_renaming_what_is_not_there() -> None:
    with pytest.raises(NotFound):
        rename_class(of("ab"), "z", "y")


def test_examples_read_for_another_kind_of_meta_model_are_asked_for_again() -> None:
    """The meta-model was chosen while they were being read."""
    support = canonical(["a", "b"], np.arange(6, dtype=np.uint8).reshape(2, 3, 1))
    with pytest.raises(NotReady, match="send the same again"):
        add_examples(support, ["a"], np.zeros((1, 1, 2), np.uint8), [""])
