"""Promise 7 in predictions: errors are per input, keep their places, and spoil nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from innerloop.embedded import Embedded
from tests.asking import adapt, assert_problem, best, drawn, predict
from tests.drawings import blank, bomb, inputs_json, png

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def model(server: Embedded) -> Iterator[str]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield adapt(client, drawn(3, 1, first=2750))["id"]


def test_bad_predictions(http: httpx.Client, model: str) -> None:
    path, one = f"/v1/models/{model}/predictions", inputs_json([2750])
    refused: list[tuple[dict[str, Any], int, str | None]] = [
        ({"json": {"inputs": []}}, 422, "no_inputs"),
        ({"json": {}}, 422, "invalid_request"),
        ({"json": {"inputs": "x"}}, 422, "invalid_request"),
        ({"json": {"inputs": [{"image": 5}]}}, 422, "invalid_request"),
        ({"json": {"inputs": one, "top_k": 0}}, 422, "invalid_request"),
        ({"json": {"inputs": one, "top_k": "all"}}, 422, "invalid_request"),
        ({"json": {"inputs": one * 1001}}, 413, None),
        ({"content": b"{", "headers": JSON}, 400, "invalid_json"),
        ({"content": png(1, 1), "headers": {"Content-Type": "image/png"}}, 415, "unsupported_media_type"),
        ({"files": {"pictures": ("a.png", png(1, 1))}}, 422, None),
        ({"files": {"inputs": ("a.png", png(1, 1))}, "data": {"top_k": "all"}}, 422, None),
    ]
    for request, status, code in refused:
        assert_problem(http.post(path, **request), status, code)


def test_errors_of_inputs_keep_their_places_and_spoil_nothing(http: httpx.Client, model: str) -> None:
    images = [png(2750, 9), b"hello", png(2751, 9), blank(), b"", bomb(), png(1, 1)[:200], png(2752, 9)]
    results = predict(http, model, images)
    good, bad = [results[i] for i in (0, 2, 7)], [results[i] for i in (1, 3, 4, 5, 6)]
    assert best(good) == ["class 0", "class 1", "class 2"]
    assert not any(r.get("error") for r in good)
    codes = ["undecodable_image", "blank_image", "empty_image", "image_too_large", "undecodable_image"]
    assert [r["error"]["code"] for r in bad] == codes
    for result in bad:
        assert set(result["error"]) >= {"code", "status", "detail"}
        assert 400 <= result["error"]["status"] < 500
        assert result.get("label") is None
        assert not result.get("scores")
    assert good == predict_again(http, model, [images[i] for i in (0, 2, 7)], good)


def predict_again(
    http: httpx.Client, model: str, images: list[bytes], like: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The same inputs without the broken ones, under the ids they had."""
    return [{**r, "id": was["id"]} for r, was in zip(predict(http, model, images), like, strict=True)]


def test_error_of_an_input_is_all_there_is_of_it(http: httpx.Client, model: str) -> None:
    """`"error" in result` tells the two apart."""
    bad, good = predict(http, model, [b"hello", png(2750, 9)])
    assert set(bad) == {"id", "error"}
    assert set(good) == {"id", "label", "confidence", "rejected", "scores"}


def test_image_over_the_cap(http: httpx.Client, model: str) -> None:
    cap = http.get("/v1/limits").json()["max_image_bytes"]
    [result] = predict(http, model, [png(1, 1) + b"\0" * cap])
    assert (result["error"]["code"], result["error"]["status"]) == ("image_too_large", 413)
