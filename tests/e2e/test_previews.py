"""Support examples as the meta-model sees them, through HTTP."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from meta_models.inputs import Caps, DrawingSpec
from tests import drawings, photos, sounds, vectors
from tests.asking import adapt, assert_problem, drawn
from tests.drawings import png

WAIT = {"Prefer": "wait=60"}

SUPPORT: dict[str, list[dict[str, Any]]] = {
    "drawing": drawings.support_json(2, 1, first=9900),
    "photo": photos.support_json(2, 1, first=9900),
    "sound": sounds.support_json(2, 1, first=9900),
    "vector": vectors.support_json(vectors.wine(1, 0)[0], vectors.wine(1, 0)[1]),
    "text": [
        {"label": "card_arrival", "input": {"text": "where is my card"}},
        {"label": "refund", "input": {"text": "give me my money back " * 60}},
    ],
}
SIZES = {"drawing": (308, 308), "photo": (320, 320), "sound": (310, 160), "vector": (312, 24)}


def listed(http: httpx.Client, model_id: str, **params: Any) -> list[dict[str, Any]]:
    answer = http.get(f"/v1/models/{model_id}/examples", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


@pytest.mark.parametrize("kind", SUPPORT)
def test_every_example_of_every_modality_can_be_seen(http: httpx.Client, kind: str) -> None:
    made = http.post("/v1/models", json={"support": SUPPORT[kind], "meta_model": kind}, headers=WAIT)
    assert made.status_code == 201, made.text
    examples = listed(http, made.json()["id"])
    assert len(examples) == len(SUPPORT[kind])
    previews = [http.get(example["preview"]) for example in examples]
    assert [p.status_code for p in previews] == [200] * len(examples)
    assert len({p.content for p in previews}) == len(examples), "two examples look the same"
    assert len({p.headers["etag"] for p in previews}) == len(examples)
    if kind == "text":
        assert {p.headers["content-type"] for p in previews} == {"text/plain; charset=utf-8"}
        short, long = (p.text for p in previews)
        assert short.splitlines()[0] == "where is my card"
        assert "class name, 4 of at most 24 tokens: [CLS] card arrival [SEP]" in short
        assert "128 of at most 128 tokens" in long
        return
    for preview, example in zip(previews, examples, strict=True):
        assert preview.headers["content-type"] == "image/png"
        with Image.open(io.BytesIO(preview.content)) as picture:
            assert (picture.format, picture.size) == ("PNG", SIZES[kind])
            described = picture.text["Description"]  # pyright: ignore[reportAttributeAccessIssue]
        words = http.get(example["preview"], headers={"Accept": "text/plain"})
        assert (words.headers["content-type"], words.text) == ("text/plain; charset=utf-8", f"{described}\n")


def test_it_is_the_row_that_the_meta_model_adapts_to(http: httpx.Client) -> None:
    model = adapt(http, drawn(2, 1, first=9910), meta_model="omniglot-protonet")
    for kind, example in zip((9910, 9911), listed(http, model["id"]), strict=True):
        with Image.open(io.BytesIO(http.get(example["preview"]).content)) as picture:
            small = np.asarray(picture)[::11, ::11]
        assert np.array_equal(small, DrawingSpec().read(png(kind, 0), Caps())[0])


def test_a_browser_asks_once(http: httpx.Client) -> None:
    [example, *_] = listed(http, adapt(http, drawn(2, 1, first=9920))["id"])
    first = http.get(example["preview"])
    assert first.headers["cache-control"] == "private, max-age=3600"
    assert set(first.headers["vary"].split(", ")) == {"Accept", "Authorization"}
    for tag in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        again = http.get(example["preview"], headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert http.get(example["preview"], headers={"If-None-Match": '"other"'}).content == first.content
    words = http.get(example["preview"], headers={"Accept": "text/plain"})
    assert words.headers["etag"] != first.headers["etag"]


def test_every_version_shows_its_own(http: httpx.Client) -> None:
    model = adapt(http, drawn(2, 1, first=9930))["id"]
    old = listed(http, model)
    body = {"examples": drawings.support_json(1, 1, first=9935)}
    assert http.post(f"/v1/models/{model}/examples", json=body, headers=WAIT).status_code == 201
    new = {e["id"]: e["preview"] for e in listed(http, model)}
    [added] = new.keys() - {e["id"] for e in old}
    assert http.get(new[added]).status_code == 200
    path = f"/v1/models/{model}/examples/{added}/preview"
    assert http.get(path).content == http.get(new[added]).content, "without a version, what the list shows"
    problem = assert_problem(http.get(path, params={"version": 1}), 404, "not_found")
    assert added in problem["detail"]
    assert_problem(http.get(path, params={"version": 7}), 404, "not_found")
    assert_problem(http.get(path, params={"version": "newest"}), 422, "invalid_request")
    assert http.delete(f"/v1/models/{model}").status_code == 204
    assert_problem(http.get(new[added]), 404, "not_found")
