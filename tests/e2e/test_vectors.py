"""Vectors through HTTP: lists in JSON, `.npy` in bodies and parts, `.npz` in answers."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from meta_models.bundle import Bundle
from meta_models.exported import TOLERANCE, ExportedClassifier
from tests.asking import assert_problem, measured
from tests.drawings import b64, png
from tests.drawings import support_json as drawn_support
from tests.vectors import inputs_json, npy, support_json, wine

NPY = {"Content-Type": "application/x-npy"}
NPZ = {"Accept": "application/x-npz"}
WAIT = {"Prefer": "wait=60"}
HEADS = ("vector-prototype", "vector-ridge", "vector-gradient")


def adapt(http: httpx.Client, vectors: NDArray[Any], labels: list[str], **options: Any) -> dict[str, Any]:
    answer = http.post("/v1/models", json={"support": support_json(vectors, labels), **options}, headers=WAIT)
    assert answer.status_code == 201, answer.text
    return measured(http, answer.json())


def ask(http: httpx.Client, model_id: str, vectors: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The arrays that come back for a `.npy` body."""
    answer = http.post(f"/v1/models/{model_id}/predictions", content=npy(vectors), headers={**NPY, **NPZ})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-npz"
    return dict(np.load(io.BytesIO(answer.content), allow_pickle=False))


@pytest.mark.parametrize("head", HEADS)
def test_a_table_is_classified(http: httpx.Client, head: str) -> None:
    support, labels, queries, truth = wine(10, 20)
    model = adapt(http, support, labels, meta_model=head)
    assert model["modality"] == "vector"
    assert model["meta_model"].startswith(head)
    found = ask(http, model["id"], queries)
    assert (found["classes"][found["probabilities"].argmax(1)] == truth).mean() > 0.9
    np.testing.assert_allclose(found["probabilities"].sum(1), 1, atol=1e-5)
    assert found["rejected"].mean() < 0.5
    assert model["quality"]["accuracy"] > 0.8


def test_the_default_of_vectors_is_their_best_meta_model(http: httpx.Client) -> None:
    cards = {card["name"]: card for card in http.get("/v1/meta-models").json()["data"]}
    best = max(HEADS, key=lambda name: cards[name]["training"]["development_accuracy"])
    assert cards[best]["aliases"] == ["vector"]
    support, labels, _, _ = wine(2, 1)
    assert adapt(http, support, labels)["meta_model"] == cards[best]["reference"]


def test_every_way_to_send_a_support_set_makes_the_same_model(http: httpx.Client) -> None:
    support, labels, _, _ = wine(3, 1, seed=1)
    support[0, 0] = 0.0
    model = adapt(http, support, labels)
    signed = np.where(support == 0, -support, support)  # minus zero is zero
    whole = {"vectors": ("v.npy", npy(support)), "labels": ("l.json", json.dumps(labels).encode())}
    by_class = [
        (f"support[{name}]", (f"{name}.npy", npy(support[[i for i, own in enumerate(labels) if own == name]])))
        for name in sorted(set(labels))
    ]
    one_by_one = [(f"support[{name}]", ("x.npy", npy(row))) for row, name in zip(support, labels, strict=True)]
    doubles = {"vectors": ("v.npy", npy(support.astype(np.float64))), "labels": ("l.json", json.dumps(labels).encode())}
    fortran = {
        "vectors": ("v.npy", npy(np.asfortranarray(support))),
        "labels": ("l.json", json.dumps(labels).encode()),
    }
    negative = {"vectors": ("v.npy", npy(signed)), "labels": ("l.json", json.dumps(labels).encode())}
    for parts in (whole, by_class, one_by_one, doubles, fortran, negative):
        again = http.post("/v1/models", files=parts, headers=WAIT)
        assert again.json()["id"] == model["id"], again.text
    turned = http.post("/v1/models", json={"support": support_json(support, labels)[::-1]}, headers=WAIT)
    assert turned.json()["id"] == model["id"]


def test_json_and_arrays_answer_alike(http: httpx.Client) -> None:
    support, labels, queries, _ = wine(4, 5, seed=2)
    path = f"/v1/models/{adapt(http, support, labels)['id']}/predictions"
    arrays = dict(
        np.load(io.BytesIO(http.post(path, content=npy(queries), headers={**NPY, **NPZ}).content), allow_pickle=False)
    )
    ways = [
        http.post(path, json={"inputs": inputs_json(queries)}),
        http.post(path, content=npy(queries), headers=NPY),
        http.post(path, content=npy(queries), headers={**NPY, "Accept": "application/x-npz;q=0, */*"}),
        http.post(path, files={"inputs": ("queries.npy", npy(queries))}),
    ]
    for answer in ways:
        results = answer.json()["results"]
        assert len(results) == len(queries)
        for i, result in enumerate(results):
            row = {score["label"]: score["probability"] for score in result["scores"]}
            assert [row[name] for name in arrays["classes"]] == pytest.approx(arrays["probabilities"][i], abs=1e-6)
            assert result["rejected"] == arrays["rejected"][i]


@pytest.mark.parametrize("head", HEADS)
def test_company_changes_nothing(http: httpx.Client, head: str) -> None:
    """Promise 3 to the bit, for batches of every size."""
    support, labels, queries, _ = wine(4, 30, seed=3)
    model = adapt(http, support, labels, meta_model=head)
    together = ask(http, model["id"], queries)["probabilities"]
    for size in (1, 2, 3, 5, 33, 64):
        alone = np.concatenate(
            [ask(http, model["id"], queries[i : i + size])["probabilities"] for i in range(0, len(queries), size)]
        )
        np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("n_dimensions", [1, 2, 8192])
def test_any_number_of_dimensions(http: httpx.Client, n_dimensions: int) -> None:
    rng = np.random.default_rng(n_dimensions)
    centres = rng.normal(size=(2, n_dimensions)) + np.array([[-3.0], [3.0]])
    rows = (centres.repeat(4, 0) + 0.3 * rng.normal(size=(8, n_dimensions))).astype(np.float32)
    model = adapt(http, rows[[0, 1, 4, 5]], ["a", "a", "b", "b"])
    found = ask(http, model["id"], rows[[2, 3, 6, 7]])
    assert list(found["classes"][found["probabilities"].argmax(1)]) == ["a", "a", "b", "b"]


def test_a_constant_a_wild_and_a_huge_dimension_do_no_harm(http: httpx.Client) -> None:
    support, labels, queries, truth = wine(10, 20, seed=4)
    spoilt = [np.hstack([rows, np.full((len(rows), 1), 7.0), 1e20 * rows[:, :1]]) for rows in (support, queries)]
    spoilt[0][0, 3] = 1e6  # an outlier
    found = ask(http, adapt(http, spoilt[0].astype(np.float32), labels)["id"], spoilt[1].astype(np.float32))
    assert (found["classes"][found["probabilities"].argmax(1)] == truth).mean() > 0.85


def test_examples_of_another_kind_are_named(http: httpx.Client) -> None:
    support, labels, queries, _ = wine(2, 1)
    mixed = [*support_json(support, labels), {"label": "x", "input": {"image": b64(png(1, 1))}}]
    found = assert_problem(http.post("/v1/models", json={"support": mixed}), 422, "wrong_modality")
    assert found["errors"] == [
        {
            "pointer": "/support/6/input/image",
            "code": "wrong_modality",
            "detail": 'example 6 (label \'x\'): expected {"vector": …}, found {"image": …}',
        }
    ]
    body = {"meta_model": "drawing", "support": support_json(support, labels)}
    assert len(assert_problem(http.post("/v1/models", json=body), 422, "wrong_modality")["errors"]) == 6
    body = {"meta_model": "vector", "support": drawn_support(2, 1)}
    assert len(assert_problem(http.post("/v1/models", json=body), 422, "wrong_modality")["errors"]) == 2

    path = f"/v1/models/{adapt(http, support, labels)['id']}/predictions"
    results = http.post(path, json={"inputs": [{"image": b64(png(1, 1))}, *inputs_json(queries)]}).json()["results"]
    assert results[0]["error"]["code"] == "wrong_modality"
    assert all("error" not in result for result in results[1:])
    drawing = http.post("/v1/models", json={"support": drawn_support(2, 1)}, headers=WAIT).json()["id"]
    answer = http.post(f"/v1/models/{drawing}/predictions", content=npy(queries), headers=NPY)
    assert_problem(answer, 422, "wrong_modality")


def test_exactly_one_kind_of_input(http: httpx.Client) -> None:
    for given in ({}, {"image": "x", "vector": [1.0]}, {"vector": None}):
        support = [{"label": "a", "input": given}]
        found = assert_problem(http.post("/v1/models", json={"support": support}), 422, "invalid_request")
        assert found["errors"][0]["pointer"].startswith("/support/0/input")


def test_of_other_dimensions_than_most_is_named_even_where_it_is_the_first(http: httpx.Client) -> None:
    rows = {"a": [1, 2, 3], "b": [1, 2], "c": [3, 1]}
    support = [{"label": label, "input": {"vector": row}} for label, row in rows.items()]
    found = assert_problem(http.post("/v1/models", json={"support": support}), 422, "wrong_dimensions")
    assert [error["pointer"] for error in found["errors"]] == ["/support/0/input/vector"]


def test_a_number_that_is_missing_is_named_and_the_rest_is_answered(http: httpx.Client) -> None:
    support, labels, queries, _ = wine(3, 1)
    inputs = inputs_json(queries)
    inputs[0]["vector"][4] = None
    body = {"support": support_json(support, labels), "inputs": inputs}
    results = http.post("/v1/classify", json=body).json()["results"]
    assert [r.get("error", {}).get("code") for r in results] == ["bad_vector", *[None] * (len(inputs) - 1)]
    inputs[0]["vector"][4] = "x"
    found = assert_problem(http.post("/v1/classify", json=body), 422, "invalid_request")
    assert [error["pointer"] for error in found["errors"]] == ["/inputs/0/vector/4"]


def test_other_dimensions_are_named(http: httpx.Client) -> None:
    support, labels, queries, _ = wine(2, 1)
    uneven = support_json(support, labels)
    uneven[4]["input"]["vector"] = [1.0, 2.0]
    found = assert_problem(http.post("/v1/models", json={"support": uneven}), 422, "wrong_dimensions")
    assert [item["pointer"] for item in found["errors"]] == ["/support/4/input/vector"]
    assert "has 2 dimensions, the model's have 13" in found["detail"]

    model = adapt(http, support, labels)
    path = f"/v1/models/{model['id']}"
    results = http.post(f"{path}/predictions", json={"inputs": [{"vector": [1.0]}, *inputs_json(queries)]}).json()
    assert [r.get("error", {}).get("code") for r in results["results"]] == ["wrong_dimensions", None, None, None]
    assert_problem(http.post(f"{path}/predictions", content=npy(queries[:, :5]), headers=NPY), 422, "wrong_dimensions")
    added = {"examples": [{"label": "new", "input": {"vector": [1.0, 2.0]}}]}
    assert_problem(http.post(f"{path}/examples", json=added), 422, "wrong_dimensions")


def test_every_version_of_the_file_format_is_read(http: httpx.Client) -> None:
    support, labels, queries, _ = wine(2, 3)
    model = adapt(http, support, labels)
    found = []
    for version in ((1, 0), (2, 0), (3, 0)):
        file = io.BytesIO()
        np.lib.format.write_array(file, queries, version=version)
        path = f"/v1/models/{model['id']}/predictions"
        found.append(http.post(path, content=file.getvalue(), headers=NPY).json()["results"])
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == len(queries)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e31])
def test_one_unusable_row_names_itself_and_the_rest_is_answered(http: httpx.Client, bad: float) -> None:
    support, labels, queries, _ = wine(2, 3)
    model = adapt(http, support, labels)
    clean = ask(http, model["id"], queries)
    spoilt = queries.copy()
    spoilt[4, 7] = bad
    found = ask(http, model["id"], spoilt)
    assert list(found["errors"]) == ["bad_vector" if i == 4 else "" for i in range(len(queries))]
    assert np.isnan(found["probabilities"][4]).all()
    others = np.arange(len(queries)) != 4
    np.testing.assert_array_equal(found["probabilities"][others], clean["probabilities"][others])
    results = http.post(f"/v1/models/{model['id']}/predictions", content=npy(spoilt), headers=NPY).json()["results"]
    assert results[4]["error"]["code"] == "bad_vector"
    assert "dimension 7" in results[4]["error"]["detail"]
    assert all("error" not in result for i, result in enumerate(results) if i != 4)
    files = {"vectors": ("v.npy", npy(spoilt)), "labels": ("l.json", json.dumps(["a"] * 8 + ["b"]).encode())}
    refused = assert_problem(http.post("/v1/models", files=files), 422, "bad_vector")
    assert refused["errors"][0]["pointer"] == "vectors[4]"


class Tripwire:
    """Would create a file on being unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("/tmp/innerloop-unpickled", "w"))  # noqa: S108 - must never be made


def lying(shape: tuple[int, ...]) -> bytes:
    """A header that promises more than follows."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(16)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "undecodable_vector"),
        (b"not numpy", 400, "undecodable_vector"),
        (npy(np.zeros((2, 13), np.float32))[:-3], 400, "undecodable_vector"),
        (lying((10**9, 10**3)), 400, "undecodable_vector"),
        (lying((-1, -4)), 400, "undecodable_vector"),
        (npy(np.zeros((2, 13))).replace(b"NUMPY\x01", b"NUMPY\x09"), 400, "undecodable_vector"),
        (npy(np.array([[Tripwire()]], object), allow_pickle=True), 400, "undecodable_vector"),
        (npy(np.array([["text"]])), 400, "undecodable_vector"),
        (npy(np.zeros((2, 13), np.complex64)), 400, "undecodable_vector"),
        (npy(np.zeros(13, np.float32)), 422, "bad_vector"),
        (npy(np.zeros((2, 13, 1), np.float32)), 422, "bad_vector"),
        (npy(np.zeros((0, 13), np.float32)), 422, "no_inputs"),
        (npy(np.zeros((2, 0), np.float32)), 422, "bad_vector"),
        (lying((2**40, 0))[:-16], 422, "bad_vector"),
        (lying((0, 2**70))[:-16], 400, "undecodable_vector"),
        (lying((1,) * 65), 400, "undecodable_vector"),
        (npy(np.zeros((1001, 13), np.float32)), 413, "too_many_inputs"),
    ],
)
def test_a_body_that_is_no_array_of_rows(http: httpx.Client, body: bytes, status: int, code: str) -> None:
    support, labels, _, _ = wine(2, 1)
    path = f"/v1/models/{adapt(http, support, labels)['id']}/predictions"
    assert_problem(http.post(path, content=body, headers=NPY), status, code)


@pytest.mark.parametrize(
    ("labels", "code"),
    [(b"", "bad_labels"), (b'["a"]', "bad_labels"), (b"[1, 2, 3, 4, 5, 6]", "bad_labels"), (b"{}", "bad_labels")],
)
def test_labels_of_an_array(http: httpx.Client, labels: bytes, code: str) -> None:
    support, _, _, _ = wine(2, 1)
    files = {"vectors": ("v.npy", npy(support)), "labels": ("l.json", labels)}
    assert_problem(http.post("/v1/models", files=files), 422, code)


def test_too_many_dimensions(http: httpx.Client) -> None:
    wide = [{"label": label, "input": {"vector": [0.5] * 8193}} for label in "ab"]
    found = assert_problem(http.post("/v1/models", json={"support": wide}), 413, "vector_too_large")
    assert "1 to 8192 dimensions, this one 8193" in found["detail"]
    assert [error["pointer"] for error in found["errors"]] == ["/support/0/input/vector", "/support/1/input/vector"]


def test_a_query_that_is_too_long_spoils_no_other(http: httpx.Client) -> None:
    support, labels, queries, _ = wine(2, 1)
    path = f"/v1/models/{adapt(http, support, labels)['id']}/predictions"
    good = {"vector": queries[0].tolist()}
    answer = http.post(path, json={"inputs": [good, {"id": "long", "vector": [0.5] * 8193}, good]})
    assert answer.status_code == 200, answer.text
    first, long, last = answer.json()["results"]
    assert first == last
    assert (long["id"], long["error"]["code"], long["error"]["status"]) == ("long", "vector_too_large", 413)


def test_growing_evaluating_and_classifying(http: httpx.Client) -> None:
    support, labels, queries, truth = wine(5, 10, seed=5)
    first = [i for i, name in enumerate(labels) if name != "cultivar 2"]
    model = adapt(http, support[first], [labels[i] for i in first])
    rest = support[[i for i in range(len(labels)) if i not in first]]
    path = f"/v1/models/{model['id']}"
    grown = http.post(f"{path}/examples", files={"examples[cultivar 2]": ("v.npy", npy(rest))}, headers=WAIT)
    assert grown.status_code == 201, grown.text
    assert len(grown.json()["classes"]) == 3
    queried = {"vectors": ("v.npy", npy(queries)), "labels": ("l.json", json.dumps(truth).encode())}
    report = http.post(f"{path}/evaluations", files=queried).json()
    assert report["n"] == 30
    assert report["accuracy"] > 0.8
    body = {"support": support_json(support, labels), "inputs": inputs_json(queries)}
    once = http.post("/v1/classify", json=body).json()["results"]
    assert np.mean([r["scores"][0]["label"] == t for r, t in zip(once, truth, strict=True)]) == report["accuracy"]


@pytest.mark.parametrize("head", HEADS)
def test_exports_answer_as_the_service(http: httpx.Client, head: str) -> None:
    support, labels, queries, _ = wine(4, 5, seed=6)
    model = adapt(http, support, labels, meta_model=head)
    served = ask(http, model["id"], queries)
    for kind in ("onnx", "safetensors"):
        answer = http.post(f"/v1/models/{model['id']}/exports", json={"format": kind})
        assert answer.status_code == 200, answer.text
        if kind == "onnx":
            exported = ExportedClassifier(answer.content)
            classes, (found, rejected) = exported.classes, exported(np.stack([exported.read(q) for q in queries]))
        else:
            bundle = Bundle.load(answer.content)
            classes, (found, rejected) = bundle.about.classes, bundle.open()(queries)
        order = [classes.index(name) for name in served["classes"]]
        np.testing.assert_allclose(found[:, order], served["probabilities"], atol=TOLERANCE)
        np.testing.assert_array_equal(rejected, served["rejected"])
