"""Photographs through HTTP: of any size and format, by alias, or by how they look where nobody says."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import httpx
import msgpack
import numpy as np
import pytest
from PIL import Image

from innerloop import FewShotClassifier
from innerloop.client import Client
from innerloop.embedded import Embedded
from meta_models.exported import TOLERANCE, ExportedClassifier
from tests.asking import adapt, assert_problem, best, drawn, parts_of, predict, probabilities, support_of
from tests.drawings import b64, blank, bomb, encoded, png, turned
from tests.photos import INKS, inked, jpeg, scene, taken

WAIT = {"Prefer": "wait=60"}
SIZES = ((40, 30), (32, 32), (64, 256), (1600, 1200), (300, 299))


@pytest.fixture
def defaults(http: httpx.Client) -> dict[str, str]:
    """What each alias stands for."""
    cards = http.get("/v1/meta-models").json()["data"]
    return {alias: card["reference"] for card in cards for alias in card["aliases"]}


def test_sizes_and_formats_mix(http: httpx.Client, defaults: dict[str, str]) -> None:
    """Adapted to a mixture by alias, asked another one."""
    pictures = [
        lambda kind, i: jpeg(kind, i, (300, 200)),
        lambda kind, i: encoded(scene(kind, i, (1600, 1200)), "WEBP"),
        lambda kind, i: encoded(scene(kind, i).convert("CMYK"), "JPEG"),
        lambda kind, i: encoded(scene(kind, i).quantize(256), "GIF", save_all=True, append_images=[scene(99, i)]),
        lambda kind, i: turned(scene(kind, i), 6),
        lambda kind, i: encoded(scene(kind, i, (1400, 1050)).quantize(256)),
    ]
    support = [(f"class {kind}", pictures[(kind + i) % 6](kind, i)) for kind in range(5) for i in range(3)]
    model = adapt(http, support, meta_model="photo")
    assert model["meta_model"] == defaults["photo"]
    results = predict(http, model["id"], [make(kind, 50) for kind in range(5) for make in pictures])
    assert best(results) == [f"class {kind}" for kind in range(5) for _ in pictures]


def test_left_out_photographs_are_recognised(http: httpx.Client, defaults: dict[str, str]) -> None:
    left_out = adapt(http, taken(3, 2, first=10))
    assert left_out["meta_model"] == defaults["photo"]
    assert left_out["selection"] is None
    assert adapt(http, taken(3, 2, first=10), meta_model="photo")["id"] == left_out["id"]


def test_left_out_drawings_are_recognised(http: httpx.Client, defaults: dict[str, str]) -> None:
    left_out = adapt(http, drawn(3, 2, first=20))
    assert left_out["meta_model"] == defaults["drawing"]
    assert left_out["selection"] is None
    assert adapt(http, drawn(3, 2, first=20), meta_model="drawing")["id"] == left_out["id"]


def test_left_out_and_in_doubt_both_kinds_are_tried(http: httpx.Client, defaults: dict[str, str]) -> None:
    """The same choice in any order; what most of them look like is the default."""
    photographs = [(f"photo {label}", data) for label, data in taken(3, 3, first=30)]
    mixed = [*drawn(2, 3, first=30), *photographs]
    model = adapt(http, mixed)
    tried = [trial["meta_model"] for trial in model["selection"]["tried"]]
    assert tried == [defaults["photo"], defaults["drawing"]]
    assert model["meta_model"] in tried
    assert (model["selection"]["n"], model["selection"]["folds"]) == (15, 5)
    assert adapt(http, mixed[::-1])["id"] == model["id"]
    seen = predict(http, model["id"], [png(30, 50), jpeg(31, 50)])
    assert best(seen) == ["class 0", "photo class 1"]
    http.delete(f"/v1/models/{model['id']}")
    again = adapt(http, mixed[::-1])
    assert (again["digest"], again["selection"]) == (model["digest"], model["selection"])


def test_settings_leave_the_kind_that_most_look_like(http: httpx.Client, defaults: dict[str, str]) -> None:
    """They are some meta-model's, so none is chosen by trial."""
    body = {"support": support_of([*drawn(2, 2, first=40), *taken(1, 1)]), "adaptation": {"inner_steps": 0}}
    answer = http.post("/v1/models", json=body, headers=WAIT)
    assert answer.json()["meta_model"] == defaults["drawing"]
    assert answer.json()["selection"] is None


def test_auto_sees_colour_where_the_default_sees_strokes(http: httpx.Client, defaults: dict[str, str]) -> None:
    support = [(ink, inked(ink, i)) for i in range(8) for ink in INKS]
    model = adapt(http, support, meta_model="auto")
    tried = [trial["meta_model"] for trial in model["selection"]["tried"]]
    assert tried[:2] == [defaults["drawing"], defaults["photo"]]
    assert model["meta_model"] == model["selection"]["chosen"] == defaults["photo"]
    assert "more than chance" in model["selection"]["reason"]
    assert best(predict(http, model["id"], [inked(ink, 50) for ink in INKS])) == [*INKS]
    again = adapt(http, support[::-1], meta_model="auto")
    assert again["id"] == model["id"]
    # What was chosen reads what comes later.
    more = {"examples": support_of([("red", inked("red", 60)), ("yellow", inked("yellow", 0))])}
    grown = http.post(f"/v1/models/{model['id']}/examples", json=more, headers=WAIT)
    assert grown.status_code == 201, grown.text
    assert best(predict(http, model["id"], [inked("yellow", 9), inked("blue", 9)])) == ["yellow", "blue"]
    assert http.get(f"/v1/models/{model['id']}").json()["meta_model"] == defaults["photo"]


def test_auto_leaves_photographs_to_their_own(http: httpx.Client, defaults: dict[str, str]) -> None:
    model = adapt(http, taken(3, 4, first=50), meta_model="auto")
    assert model["selection"]["tried"][0]["meta_model"] == defaults["photo"]
    assert defaults["drawing"] in [trial["meta_model"] for trial in model["selection"]["tried"]]


@pytest.mark.parametrize("asked", [None, "auto", "photo"])
def test_a_picture_without_a_drawing_is_a_photograph(
    http: httpx.Client, defaults: dict[str, str], asked: str | None
) -> None:
    """One dark night among photographs harms nobody; that drawings could not have it is no error."""
    night = encoded(Image.new("RGB", (64, 48), (4, 4, 12)))
    options = {} if asked is None else {"meta_model": asked}
    model = adapt(http, [*taken(3, 3, first=60), ("class 0", night)], **options)
    assert model["meta_model"] == defaults["photo"]
    assert not model["selection"] or defaults["drawing"] not in [t["meta_model"] for t in model["selection"]["tried"]]
    assert not [r for r in predict(http, model["id"], [night, jpeg(61, 9)]) if r.get("error")]


def test_a_blank_page_among_drawings_is_still_refused(http: httpx.Client) -> None:
    support = support_of([*drawn(3, 3, first=70), ("class 0", blank())])
    problem = assert_problem(http.post("/v1/models", json={"support": support}), 422, "blank_image")
    assert [e["pointer"] for e in problem["errors"]] == ["/support/9/input/image"]


def test_every_way_to_send_them_makes_the_same_model(http: httpx.Client) -> None:
    examples = taken(2, 2, first=80)
    model = adapt(http, examples)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for i, (label, data) in enumerate(examples):
            archive.writestr(f"{label}/{i}.jpg", data)
    as_bytes = [{"label": label, "input": {"image": data}} for label, data in examples]
    requests: list[dict[str, Any]] = [
        {"files": parts_of(examples)},
        {"files": {"archive": ("photos.zip", packed.getvalue())}},
        {"content": msgpack.packb({"support": as_bytes}), "headers": {"Content-Type": "application/msgpack"}},
    ]
    for request in requests:
        request["headers"] = {**WAIT, **request.get("headers", {})}
        assert http.post("/v1/models", **request).json()["id"] == model["id"]


def bad_ones(http: httpx.Client) -> dict[str, tuple[bytes, int]]:
    """What is wrong, and the status it would have by itself."""
    limits = http.get("/v1/limits").json()
    side = int(limits["max_image_pixels"] ** 0.5) + 1
    return {
        "empty_image": (b"", 422),
        "undecodable_image": (jpeg(1, 1)[:700], 422),
        "image_too_large": (encoded(Image.new("1", (side, side))), 413),
    }


def test_a_bad_one_names_itself_and_the_rest_is_answered(http: httpx.Client) -> None:
    model = adapt(http, taken(2, 2, first=90))
    limits = http.get("/v1/limits").json()
    bad = bad_ones(http)
    files = [*(data for data, _ in bad.values()), bomb(), jpeg(1, 1) + bytes(limits["max_image_bytes"])]
    parts = [("inputs", (str(i), data)) for i, data in enumerate([jpeg(90, 9), *files, jpeg(91, 9)])]
    results = http.post(f"/v1/models/{model['id']}/predictions", files=parts).json()["results"]
    expected = [(code, status) for code, (_, status) in bad.items()] + [("image_too_large", 413)] * 2
    assert [(r["error"]["code"], r["error"]["status"]) for r in results[1:-1]] == expected
    assert best([results[0], results[-1]]) == ["class 0", "class 1"]


@pytest.mark.parametrize("asked", [None, "auto", "photo"])
def test_a_support_set_lists_every_bad_one(http: httpx.Client, asked: str | None) -> None:
    bad = bad_ones(http)
    support = support_of([*taken(2, 1), *(("x", data) for data, _ in bad.values())])
    body = {"support": support} | ({"meta_model": asked} if asked else {})
    problem = assert_problem(http.post("/v1/models", json=body), 422)
    assert [(e["pointer"], e["code"]) for e in problem["errors"]] == [
        (f"/support/{i}/input/image", code) for i, code in enumerate(bad, 2)
    ]


def test_photographs_do_not_mix_with_sounds_or_words(http: httpx.Client) -> None:
    mixed = [*support_of(taken(2, 1)), {"label": "x", "input": {"text": "a cat"}}]
    problem = assert_problem(http.post("/v1/models", json={"support": mixed}), 422, "wrong_modality")
    assert problem["errors"][0]["pointer"] == "/support/2/input/text"


def test_company_changes_nothing(http: httpx.Client) -> None:
    """Promise 3 to the bit."""
    model = adapt(http, taken(3, 2, first=100))
    queries = [jpeg(100 + i % 3, 50 + i, SIZES[i % 5]) for i in range(9)]
    together = [probabilities(r) for r in predict(http, model["id"], queries)]
    assert [probabilities(predict(http, model["id"], [q])[0]) for q in queries] == together


def test_an_export_sees_as_the_service_does(http: httpx.Client) -> None:
    model = adapt(http, taken(3, 2, first=110))
    answer = http.post(f"/v1/models/{model['id']}/exports", json={"format": "onnx"})
    assert answer.status_code == 200, answer.text
    exported = ExportedClassifier(answer.content)
    queries = [jpeg(110 + i, 50, SIZES[i]) for i in range(3)]
    for query, result in zip(queries, predict(http, model["id"], queries), strict=True):
        found, rejected = exported(exported.read(query)[None])  # sizes differ, so one by one
        served = probabilities(result)
        np.testing.assert_allclose(found[0], [served[name] for name in exported.classes], atol=TOLERANCE)
        assert rejected[0] == result["rejected"]


def test_classify_recognises_them_too(http: httpx.Client, defaults: dict[str, str]) -> None:
    inputs = [{"image": b64(jpeg(121, 9))}]
    answer = http.post("/v1/classify", json={"support": support_of(taken(3, 2, first=120)), "inputs": inputs})
    assert answer.json()["meta_model"] == defaults["photo"]
    assert best(answer.json()["results"]) == ["class 1"]


def test_client_and_estimator_take_them_as_people_hold_them(
    server: Embedded, defaults: dict[str, str], tmp_path: Any
) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(130, 0))
    held = [tmp_path / "a.jpg", str(tmp_path / "a.jpg"), scene(130, 1), np.asarray(scene(131, 0)), jpeg(131, 1)]
    held.append(np.asarray(scene(131, 2)) / 255)
    labels = ["a", "a", "a", "b", "b", "b"]
    seen = FewShotClassifier(url=server.url).fit(held, labels)
    assert seen.model_["meta_model"] == defaults["photo"]
    assert list(seen.predict([scene(130, 9).convert("CMYK"), scene(131, 9).quantize(256)])) == ["a", "b"]
    with Client(server.url) as client:
        model = client.adapt(list(zip(labels, held, strict=True)), meta_model="photo")
        assert best(client.predict(model["id"], [scene(131, 9, (1600, 1200))])) == ["b"]
