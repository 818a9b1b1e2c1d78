"""The main job through HTTP: post drawings, get a model, ask, get right answers."""

from __future__ import annotations

import httpx

from tests.drawings import inputs_json, support_json


def test_adapt_then_predict(http: httpx.Client) -> None:
    adapted = http.post("/v1/models", json={"support": support_json(5, 3), "name": "lines"})
    assert adapted.status_code == 201, adapted.text
    model = adapted.json()
    assert model["status"] == "ready"
    assert [c["examples"] for c in model["classes"]] == [3] * 5

    answer = http.post(f"/v1/models/{model['id']}/predictions", json={"inputs": inputs_json([0, 1, 2, 3, 4])})
    assert answer.status_code == 200, answer.text
    best = [r["scores"][0]["label"] for r in answer.json()["results"]]
    assert best == [f"class {i}" for i in range(5)]
