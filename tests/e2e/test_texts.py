"""Texts through HTTP: JSON, forms, files and archives; class names that help; exports that read by themselves."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import httpx
import numpy as np
import pytest

from innerloop.demo_texts import MESSAGES
from meta_models.exported import ExportedClassifier
from tests.asking import assert_problem, measured

WAIT = {"Prefer": "wait=60"}


def support(n_shot: int, names: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """The first messages of each kind."""
    renamed = names or {name: name for name in MESSAGES}
    return [
        {"label": renamed[name], "input": {"text": text}} for name, texts in MESSAGES.items() for text in texts[:n_shot]
    ]


def adapt(http: httpx.Client, examples: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    answer = http.post("/v1/models", json={"support": examples, **options}, headers=WAIT)
    assert answer.status_code == 201, answer.text
    return measured(http, answer.json())


def accuracy(http: httpx.Client, model_id: str, names: dict[str, str] | None = None) -> float:
    """On the last five messages of each kind."""
    renamed = names or {name: name for name in MESSAGES}
    asked = [(renamed[name], text) for name, texts in MESSAGES.items() for text in texts[5:]]
    body = {"queries": [{"label": label, "input": {"text": text}} for label, text in asked]}
    report = http.post(f"/v1/models/{model_id}/evaluations", json=body)
    assert report.status_code == 200, report.text
    return report.json()["accuracy"]


def test_messages_are_told_apart(http: httpx.Client) -> None:
    model = adapt(http, support(5))
    assert model["modality"] == "text"
    assert model["meta_model"].startswith("text-")
    assert accuracy(http, model["id"]) > 0.8
    assert model["quality"]["accuracy"] > 0.6


def test_class_names_are_worth_examples(http: httpx.Client) -> None:
    codes = {name: f"class {i}" for i, name in enumerate(MESSAGES)}
    told = accuracy(http, adapt(http, support(1))["id"])
    untold = accuracy(http, adapt(http, support(1, codes))["id"], codes)
    assert round(told - untold, 6) >= 0.05


def test_texts_that_are_cut_or_unknown_are_named(http: httpx.Client) -> None:
    examples = support(2)
    examples[1]["input"]["text"] *= 30
    examples[2]["input"]["text"] = "\u16a0\u16a2 \u16b1\u16b7"
    *_, cut, unknown = adapt(http, examples)["quality"]["warnings"]
    assert cut.endswith("so cut: /support/1/input/text")
    assert unknown.endswith("the encoder does not know: /support/2/input/text")


def test_a_text_of_two_classes_is_told(http: httpx.Client) -> None:
    """Although the name of its class goes with each."""
    examples = support(2)
    examples += [{**examples[0], "label": "refund"}]
    shared = f"classes '{examples[0]['label']}' and 'refund' share an example; remove it from one"
    assert shared in adapt(http, examples)["quality"]["warnings"]


def test_a_new_name_changes_no_answer(http: httpx.Client) -> None:
    model = adapt(http, support(2))
    asked = {"inputs": [{"text": "where is it"}, {"text": "you owe me money"}], "top_k": 20}
    before = http.post(f"/v1/models/{model['id']}/predictions", json=asked).json()["results"]
    renamed = http.patch(f"/v1/models/{model['id']}/classes/refund", json={"name": "zzz"})
    assert renamed.status_code in (200, 201), renamed.text
    after = http.post(f"/v1/models/{model['id']}/predictions", json=asked).json()["results"]
    for old, new in zip(before, after, strict=True):
        scores = [
            {"zzz" if s["label"] == "refund" else s["label"]: s["probability"] for s in result["scores"]}
            for result in (old, new)
        ]
        assert scores[0] == scores[1]
    there = [{**example, "label": "zzz"} for example in support(2) if example["label"] == "refund"]
    again = http.post(f"/v1/models/{model['id']}/examples", json={"examples": there}, headers=WAIT)
    assert (again.json()["version"], again.headers.get("idempotent-replayed")) == (2, "true"), "it has them already"


def test_forms_files_and_archives_say_the_same(http: httpx.Client) -> None:
    pairs = [(e["label"], e["input"]["text"]) for e in support(2)]
    by_json = adapt(http, support(2))
    fields = [(f"support[{label}]", (None, text)) for label, text in pairs]
    by_fields = http.post("/v1/models", files=fields, headers=WAIT)
    files = [(f"support[{label}]", ("it.txt", text.encode(), "text/plain")) for label, text in pairs]
    by_files = http.post("/v1/models", files=files, headers=WAIT)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        for i, (label, text) in enumerate(pairs):
            archive.writestr(f"{label}/{i}.txt", text.encode("utf-16" if i % 2 else "utf-8"))
    by_archive = http.post("/v1/models", files={"archive": ("all.zip", zipped.getvalue())}, headers=WAIT)
    for answer in (by_fields, by_files, by_archive):
        assert answer.status_code in (200, 201), answer.text
        assert answer.json()["digest"] == by_json["digest"]
    asked = [("inputs", (None, "you owe me money")), ("inputs", ("q.txt", b"you owe me money"))]
    results = http.post(f"/v1/models/{by_json['id']}/predictions", files=asked).json()["results"]
    assert results[0]["scores"] == results[1]["scores"]


def test_a_form_holds_as_many_texts_as_a_support_set(http: httpx.Client) -> None:
    fields = [
        (f"support[{name}]", (None, f"{text} {i}"))
        for name, texts in MESSAGES.items()
        for i, text in enumerate(5 * texts)
    ]
    assert len(fields) > 100
    assert http.post("/v1/models", files=fields, headers=WAIT).status_code == 201
    long = http.post("/v1/models", files=[*fields[:4], ("support[long]", (None, "x" * 1_100_000))], headers=WAIT)
    assert_problem(long, 413, "body_too_large")
    assert "more than 1048576 bytes" in long.json()["detail"]


def test_a_query_is_answered_by_itself(http: httpx.Client) -> None:
    model = adapt(http, support(2))
    texts = [text for texts in MESSAGES.values() for text in texts[5:8]]
    path = f"/v1/models/{model['id']}/predictions"
    together = http.post(path, json={"inputs": [{"text": t} for t in texts]}).json()["results"]
    for text, expected in zip(texts, together, strict=True):
        assert http.post(path, json={"inputs": [{"text": text}]}).json()["results"] == [expected]


@pytest.mark.parametrize(
    ("content", "code"),
    [({"text": "  "}, "empty_text"), ({"text": "x" * 20_001}, "text_too_large"), ({"vector": [1.0]}, "wrong_modality")],
)
def test_what_cannot_be_read_is_named_and_the_rest_answered(
    http: httpx.Client, content: dict[str, Any], code: str
) -> None:
    broken = [*support(2), {"label": "refund", "input": content}]
    status = 413 if code == "text_too_large" else 422
    problem = assert_problem(http.post("/v1/models", json={"support": broken}), status, code)
    assert problem["errors"][0]["pointer"].startswith(f"/support/{len(broken) - 1}/input")
    model = adapt(http, support(2))
    asked = {"inputs": [{"text": "where is it"}, content, {"text": "thank you"}]}
    results = http.post(f"/v1/models/{model['id']}/predictions", json=asked).json()["results"]
    assert results[1]["error"]["code"] == code
    assert results[0]["scores"]
    assert results[2]["scores"]


def test_an_export_reads_texts_without_a_server(http: httpx.Client) -> None:
    model = adapt(http, support(3))
    data = http.post(f"/v1/models/{model['id']}/exports", json={"format": "onnx"})
    assert data.status_code == 200, data.text
    exported = ExportedClassifier(data.content)
    for text in ("you owe me money", "the lamp is broken and I want to complain about it, loudly, to whoever listens"):
        asked = {"inputs": [{"text": text}], "top_k": 20}
        [served] = http.post(f"/v1/models/{model['id']}/predictions", json=asked).json()["results"]
        [row], [rejected] = exported(exported.read(text)[None])
        for score in served["scores"]:
            assert row[exported.classes.index(score["label"])] == pytest.approx(score["probability"], abs=1e-5)
        assert rejected == served["rejected"]
    rows = [exported.read(text) for texts in MESSAGES.values() for text in texts[:4]]
    together = exported(np.stack(rows))[0]
    for row, expected in zip(rows, together, strict=True):
        np.testing.assert_allclose(exported(row[None])[0][0], expected, atol=1e-6)
