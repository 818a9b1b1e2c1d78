"""Labelled queries to a report: counted right, named right, refused right."""

from __future__ import annotations

import httpx
import pytest

from tests.asking import Labelled, adapt, archive_of, assert_problem, drawn, in_folders, predict, support_of
from tests.drawings import png

KINDS = 4300


@pytest.fixture(scope="module")
def path(module_http: httpx.Client) -> str:
    return f"/v1/models/{adapt(module_http, drawn(3, 3, first=KINDS))['id']}"


QUERIES: list[Labelled] = [(f"class {way}", png(KINDS + way, 50 + i)) for way in range(3) for i in range(4)]
# Two sketches of class 1 that claim to be class 0: mistakes that anyone can count.
MISLABELLED: list[Labelled] = [("class 0", png(KINDS + 1, 80 + i)) for i in range(2)]


def report(http: httpx.Client, path: str, queries: list[Labelled]) -> dict:
    answer = http.post(f"{path}/evaluations", json={"queries": support_of(queries)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_figures_are_those_of_the_predictions(http: httpx.Client, path: str) -> None:
    queries = QUERIES + MISLABELLED
    results = predict(http, path.rsplit("/", 1)[-1], [data for _, data in queries])
    given = [r["scores"][0]["label"] for r in results]
    right = sum(label == answer for (label, _), answer in zip(queries, given, strict=True))
    found = report(http, path, queries)
    assert (found["n"], found["accuracy"]) == (14, pytest.approx(right / 14))
    assert found["ci95"][0] < found["accuracy"] < found["ci95"][1]
    assert found["rejected"] == sum(r["rejected"] for r in results)
    matrix = found["confusion_matrix"]
    assert matrix["labels"] == ["class 0", "class 1", "class 2"]
    for i, row in enumerate(matrix["labels"]):
        for j, column in enumerate(matrix["labels"]):
            pairs = sum((label, answer) == (row, column) for (label, _), answer in zip(queries, given, strict=True))
            assert matrix["counts"][i][j] == pairs
    confidences = [r["confidence"] for r in results]
    bins = found["calibration"]["bins"]
    assert sum(b["n"] for b in bins) == 14
    assert all(0 <= b["low"] <= b["confidence"] <= b["high"] <= 1 for b in bins)
    assert sum(b["n"] * b["confidence"] for b in bins) == pytest.approx(sum(confidences))
    error = sum(b["n"] / 14 * abs(b["confidence"] - b["accuracy"]) for b in bins)
    assert found["calibration"]["expected_calibration_error"] == pytest.approx(error)


def test_classes_are_reported_one_by_one(http: httpx.Client, path: str) -> None:
    first, second, third = report(http, path, QUERIES + MISLABELLED)["per_class"]
    assert (first["name"], first["n"], first["recall"]) == ("class 0", 6, pytest.approx(4 / 6))
    assert (first["precision"], first["mistaken_for"]) == (1.0, "class 1")
    assert first["f1"] == pytest.approx(0.8)
    assert first["ci95"][0] < first["recall"] < first["ci95"][1]
    assert (second["n"], second["recall"], second["precision"]) == (4, 1.0, pytest.approx(4 / 6))
    assert (third["recall"], third["precision"], third["f1"], third["mistaken_for"]) == (1.0, 1.0, 1.0, None)


def test_a_class_without_queries_has_no_figures(http: httpx.Client, path: str) -> None:
    last = report(http, path, QUERIES[:4])["per_class"][2]
    assert (last["n"], last["recall"], last["ci95"], last["precision"]) == (0, None, None, None)


def test_order_and_form_change_nothing(http: httpx.Client, path: str) -> None:
    expected = report(http, path, QUERIES)
    assert report(http, path, QUERIES[::-1])["confusion_matrix"] == expected["confusion_matrix"]
    files = [(f"queries[{label}]", (f"{i}.png", data, "image/png")) for i, (label, data) in enumerate(QUERIES)]
    for sent in (files, archive_of(in_folders([(label, data) for label, data in QUERIES[:4]]))):
        answer = http.post(f"{path}/evaluations", files=sent)
        assert answer.status_code == 200, answer.text
    assert http.post(f"{path}/evaluations", files=files).json()["accuracy"] == expected["accuracy"]


def test_unreadable_queries_are_listed_not_counted(http: httpx.Client, path: str) -> None:
    found = report(http, path, [("class 0", b"broken"), *QUERIES[:4]])
    assert (found["n"], found["accuracy"]) == (4, 1.0)
    assert [(u["index"], u["error"]["code"]) for u in found["unreadable"]] == [(0, "undecodable_image")]
    nothing = report(http, path, [("class 0", b"broken")])
    assert (nothing["n"], nothing["accuracy"], nothing["calibration"]) == (0, None, None)


def test_labels_that_are_no_class_are_named(http: httpx.Client, path: str) -> None:
    queries = [QUERIES[0], ("stranger", png(0, 0))]
    problem = assert_problem(
        http.post(f"{path}/evaluations", json={"queries": support_of(queries)}), 422, "unknown_class"
    )
    assert [e["pointer"] for e in problem["errors"]] == ["/queries/1/label"]
    assert "class 2" in problem["detail"]


def test_refusals(http: httpx.Client, path: str) -> None:
    assert_problem(http.post(f"{path}/evaluations", json={"queries": []}), 422, "no_queries")
    assert_problem(http.post(f"{path}/evaluations", json={"inputs": []}), 422, "invalid_request")
    many = {"queries": support_of([QUERIES[0]] * 1001)}
    assert_problem(http.post(f"{path}/evaluations", json=many), 413, "too_many_inputs")
    absent = http.post("/v1/models/mdl_absent/evaluations", json={"queries": support_of(QUERIES[:1])})
    assert_problem(absent, 404, "not_found")
    assert_problem(
        http.post(f"{path}/evaluations", json={"queries": support_of(QUERIES[:1])}, params={"version": 2}), 404
    )
