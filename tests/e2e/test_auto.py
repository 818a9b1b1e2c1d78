"""`meta_model: "auto"`: what was tried is told, the same support set gives the same choice, and it does no harm."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris, load_wine

from adapter.choosing import BEYOND_CHANCE
from tests.asking import assert_problem
from tests.drawings import support_json as drawn_support
from tests.vectors import inputs_json, support_json, wine

WAIT = {"Prefer": "wait=60"}
HEADS = {"vector-prototype@2", "vector-ridge@2", "vector-gradient@3"}


def adapt(
    http: httpx.Client, support: list[dict[str, Any]], meta_model: str = "auto", **headers: str
) -> dict[str, Any]:
    answer = http.post("/v1/models", json={"meta_model": meta_model, "support": support}, headers=WAIT)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_says_what_it_tried(http: httpx.Client) -> None:
    support, labels, _, _ = wine(6, 1, seed=20)
    model = adapt(http, support_json(support, labels))
    made = model["selection"]
    default = next(c["reference"] for c in http.get("/v1/meta-models").json()["data"] if "vector" in c["aliases"])
    assert made["tried"][0]["meta_model"] == default
    assert {trial["meta_model"] for trial in made["tried"]} == HEADS
    assert (made["method"], made["folds"], made["n"]) == ("cross_validation", 5, 18)
    assert made["chosen"] == model["meta_model"]
    assert made["tried"][0]["difference"] == 0
    for trial in made["tried"]:
        assert trial["accuracy"] - made["tried"][0]["accuracy"] == pytest.approx(trial["difference"])
        assert trial["standard_error"] > 0
    worth = [t for t in made["tried"] if t["difference"] > BEYOND_CHANCE * t["standard_error"]]
    assert (model["meta_model"] != default) == bool(worth)
    assert made["reason"]
    assert http.get(f"/v1/models/{model['id']}").json()["selection"] == made


def test_the_same_support_set_is_the_same_model(http: httpx.Client) -> None:
    support, labels, _, _ = wine(5, 1, seed=21)
    model = adapt(http, support_json(support, labels))
    again = adapt(http, support_json(support, labels)[::-1])
    assert again["id"] == model["id"]
    http.delete(f"/v1/models/{model['id']}")
    afresh = adapt(http, support_json(support, labels))
    assert afresh["id"] != model["id"]
    assert afresh["selection"] == model["selection"]
    assert afresh["digest"] == model["digest"]
    named = adapt(http, support_json(support, labels), model["meta_model"])
    assert named["id"] != afresh["id"]
    assert named["selection"] is None


def test_an_only_example_of_each_class_leaves_the_default(http: httpx.Client) -> None:
    support, labels, _, _ = wine(1, 1, seed=22)
    made = adapt(http, support_json(support, labels))["selection"]
    assert made["n"] == 0
    assert made["chosen"] == made["tried"][0]["meta_model"]
    assert "cannot" in made["reason"] or "none can be held out" in made["reason"]


def test_drawings_too(http: httpx.Client) -> None:
    model = adapt(http, drawn_support(3, 4, first=7000))
    tried = [trial["meta_model"] for trial in model["selection"]["tried"]]
    assert tried[0] == named_by(http, "drawing")
    assert named_by(http, "photo") in tried
    assert len(tried) == len(set(tried)) >= 4
    assert not set(tried) & HEADS


def named_by(http: httpx.Client, alias: str) -> str:
    return http.get(f"/v1/meta-models/{alias}").json()["reference"]


def test_settings_cannot_be_given(http: httpx.Client) -> None:
    support, labels, _, _ = wine(2, 1)
    body = {"meta_model": "auto", "support": support_json(support, labels), "adaptation": {"inner_steps": 1}}
    assert "auto" in assert_problem(http.post("/v1/models", json=body), 422, "invalid_request")["detail"]


def test_growing_keeps_the_choice(http: httpx.Client) -> None:
    support, labels, queries, _ = wine(5, 2, seed=23)
    model = adapt(http, support_json(support, labels))
    added = {"examples": [{"label": labels[0], "input": {"vector": queries[0].tolist()}}]}
    grown = http.post(f"/v1/models/{model['id']}/examples", json=added, headers=WAIT)
    assert grown.status_code == 201, grown.text
    assert http.get(f"/v1/models/{model['id']}").json()["meta_model"] == model["meta_model"]


def test_no_worse_than_the_default_on_real_tables(http: httpx.Client) -> None:
    """Over 24 support sets of three tables: not below the default by more than two standard errors."""
    differences: list[float] = []
    for number in range(24):
        rows, labels = (load_digits, load_iris, load_wine)[number % 3](return_X_y=True)
        rng = np.random.default_rng(number)
        drawn = [rng.permutation(np.flatnonzero(labels == c))[:20] for c in rng.permutation(labels.max() + 1)[:3]]
        support, query = (np.concatenate([d[part] for d in drawn]) for part in (slice(5), slice(5, 20)))
        body = support_json(rows[support], [str(y) for y in labels[support]])
        right = []
        for meta_model in ("auto", "vector"):
            model = adapt(http, body, meta_model)
            asked = {"inputs": inputs_json(rows[query]), "top_k": 1}
            results = http.post(f"/v1/models/{model['id']}/predictions", json=asked).json()["results"]
            best = [r["scores"][0]["label"] for r in results]
            right.append(np.mean([b == str(y) for b, y in zip(best, labels[query], strict=True)]))
        differences.append(right[0] - right[1])
    mean, error = np.mean(differences), np.std(differences) / np.sqrt(len(differences))
    assert mean >= -2 * error - 0.005
