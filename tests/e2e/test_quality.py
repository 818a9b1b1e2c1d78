"""Quality at birth: every model says how good it is, and what would make it better."""

from __future__ import annotations

import httpx
import pytest

from tests.asking import META_MODELS, adapt, drawn, support_of
from tests.drawings import png


@pytest.mark.parametrize("meta_model", META_MODELS)
def test_every_model_carries_its_accuracy(http: httpx.Client, meta_model: str) -> None:
    quality = adapt(http, drawn(4, 5, first=3200), meta_model=meta_model)["quality"]
    assert quality["n"] == 20
    assert quality["accuracy"] >= 0.9, "sketches are easy"
    assert quality["ci95"][0] <= quality["accuracy"] <= quality["ci95"][1]
    assert [(c["name"], c["examples"], c["n"]) for c in quality["per_class"]] == [
        (f"class {i}", 5, 5) for i in range(4)
    ]
    assert 0 <= quality["calibration_error"] <= 1
    assert quality["method"] in {"leave_one_out", "cross_validation", "cross_validation_without_inner_steps"}


def test_a_shared_body_is_measured_before_ready(http: httpx.Client) -> None:
    body = {"support": support_of(drawn(3, 2, first=3210)), "meta_model": "omniglot-protonet"}
    quality = http.post("/v1/models", json=body, headers={"Prefer": "wait=60"}).json()["quality"]
    assert (quality["method"], quality["folds"], quality["n"]) == ("leave_one_out", None, 6)


def test_advice_names_the_class_and_the_number(http: httpx.Client) -> None:
    examples = [("plenty", png(3220, i)) for i in range(6)] + [("bug", png(3221, i)) for i in range(2)]
    quality = adapt(http, examples)["quality"]
    assert quality["warnings"] == ["class 'bug' has 2 examples; add 3"]


def test_one_shot_says_that_it_cannot_know(http: httpx.Client) -> None:
    quality = adapt(http, drawn(3, 1, first=3230))["quality"]
    assert (quality["n"], quality["accuracy"], quality["ci95"]) == (0, None, None)
    assert "cannot be measured" in quality["warnings"][-1]


@pytest.mark.parametrize("meta_model", META_MODELS)
def test_a_wrong_label_is_found(http: httpx.Client, meta_model: str) -> None:
    examples = [*drawn(3, 6, first=3240), ("class 0", png(3241, 50))]
    model = adapt(http, examples, meta_model=meta_model)
    quality = model["quality"]
    assert [(s["source"], s["label"], s["looks_like"]) for s in quality["suspicious"]] == [
        ("/support/18/input/image", "class 0", "class 1")
    ]
    assert "1 example looks like another class; see suspicious" in quality["warnings"]
