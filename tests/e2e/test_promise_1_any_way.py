"""Promise 1: class order, label names and example order do not matter, for every published meta-model.

That any number of classes and examples works is test_adapt.py's.
"""

from __future__ import annotations

import random
from typing import Any

import httpx
import pytest

from tests.asking import META_MODELS, Labelled, adapt, predict, probabilities
from tests.drawings import png

NAMES = ["zz", "a", "10", "9", "é", "B"]


@pytest.fixture(scope="module")
def examples() -> list[Labelled]:
    """Six classes of one to four examples."""
    return [(f"c{way}", png(2000 + way, i)) for way, n_shot in enumerate([1, 4, 2, 3, 1, 2]) for i in range(n_shot)]


@pytest.fixture(scope="module")
def queries() -> list[bytes]:
    """Each class once, and two sketches that are of no class."""
    return [png(2000 + way, 100) for way in range(8)]


VARIANTS = [
    *({"meta_model": name} for name in META_MODELS),
    {"meta_model": "omniglot-maml", "adaptation": {"inner_steps": 3, "inner_lr": 0.05}},
]


@pytest.mark.parametrize("options", VARIANTS, ids=[*META_MODELS, "omniglot-maml, 3 steps"])
def test_renaming_classes_renames_the_answers(
    http: httpx.Client, examples: list[Labelled], queries: list[bytes], options: dict[str, Any]
) -> None:
    plain = adapt(http, examples, **options)
    new_name = dict(zip(sorted({label for label, _ in examples}), NAMES, strict=True))
    renamed = adapt(http, [(new_name[label], data) for label, data in examples], **options)
    assert renamed["id"] != plain["id"]
    before, after = predict(http, plain["id"], queries), predict(http, renamed["id"], queries)
    for was, now in zip(before, after, strict=True):
        assert {new_name[label]: p for label, p in probabilities(was).items()} == probabilities(now)
        assert now["rejected"] == was["rejected"]
        assert now["label"] == (new_name[was["label"]] if was["label"] is not None else None)


@pytest.mark.parametrize("meta_model", META_MODELS)
def test_order_of_classes_and_examples_does_not_matter(
    http: httpx.Client, examples: list[Labelled], queries: list[bytes], meta_model: str
) -> None:
    plain = predict(http, adapt(http, examples, meta_model=meta_model)["id"], queries)
    for seed in range(3):
        mixed = random.Random(seed).sample(examples, len(examples))
        # Deleted first, so that it is not simply the same model again. (Promise 2's test compares two servers.)
        model = adapt(http, mixed, meta_model=meta_model)
        assert http.delete(f"/v1/models/{model['id']}").status_code == 204
        again = adapt(http, mixed, meta_model=meta_model)
        assert again["id"] != model["id"]
        assert predict(http, again["id"], queries) == plain


@pytest.mark.parametrize("meta_model", META_MODELS)
def test_scores_are_probabilities_over_all_classes(
    http: httpx.Client, examples: list[Labelled], queries: list[bytes], meta_model: str
) -> None:
    model = adapt(http, examples, meta_model=meta_model)
    for result in predict(http, model["id"], queries):
        listed = probabilities(result)
        assert set(listed) == {label for label, _ in examples}
        assert sum(listed.values()) == pytest.approx(1, abs=1e-4)
        assert result["confidence"] == max(listed.values())
        assert result["rejected"] == (result["label"] is None)


def test_top_k_shortens_the_scores_only(http: httpx.Client, examples: list[Labelled], queries: list[bytes]) -> None:
    model = adapt(http, examples)
    whole = predict(http, model["id"], queries)
    for top_k in (1, 3, 6, 100):
        short = predict(http, model["id"], queries, top_k=top_k)
        assert [{**r, "scores": r["scores"][:top_k]} for r in whole] == short
