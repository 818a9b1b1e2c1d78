"""MessagePack bodies mean what JSON bodies mean; images are bytes."""

from __future__ import annotations

import datetime
from typing import Any

import httpx
import msgpack
import pytest

from tests.asking import Labelled, adapt, assert_problem, drawn
from tests.drawings import b64, blank, png

TYPES = ("application/msgpack", "application/vnd.msgpack", "application/x-msgpack")


def post(http: httpx.Client, path: str, body: Any, media_type: str = TYPES[0]) -> httpx.Response:
    content = body if isinstance(body, bytes) else msgpack.packb(body, datetime=True)
    return http.post(path, content=content, headers={"Content-Type": media_type, "Prefer": "wait=60"})


def labelled(examples: list[Labelled]) -> list[dict[str, Any]]:
    return [{"label": label, "input": {"image": data}} for label, data in examples]


@pytest.mark.parametrize("media_type", TYPES)
def test_the_same_model_as_by_json(http: httpx.Client, media_type: str) -> None:
    examples = drawn(3, 2, first=7100)
    by_json = adapt(http, examples, name="both ways", ttl_seconds=7200)
    body = {"support": labelled(examples), "name": "both ways", "ttl_seconds": 7200}
    answer = post(http, "/v1/models", body, media_type)
    assert answer.status_code == 201, answer.text
    assert answer.json()["id"] == by_json["id"]


def test_every_route_answers_as_to_json(http: httpx.Client) -> None:
    examples, queries = drawn(3, 2, first=7110), drawn(3, 1, first=7110)[::-1]
    path = f"/v1/models/{adapt(http, examples)['id']}"

    def both(where: str, packed: dict[str, Any], plain: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        a, b = post(http, where, packed), http.post(where, json=plain, headers={"Prefer": "wait=60"})
        assert a.status_code == b.status_code, (a.text, b.text)
        return a.json(), b.json()

    asked = [{"id": f"q{i}", "image": data} for i, (_, data) in enumerate(queries)]
    as_text = [{**a, "image": b64(a["image"])} for a in asked]
    a, b = both(f"{path}/predictions", {"inputs": asked, "top_k": 2.0}, {"inputs": as_text, "top_k": 2})
    assert a == b
    assert [r["scores"][0]["label"] for r in a["results"]] == ["class 2", "class 1", "class 0"]
    a, b = both(f"{path}/evaluations", {"queries": labelled(queries)}, {"queries": labelled_text(queries)})
    assert a == b
    plain = {"support": labelled_text(examples), "inputs": as_text}
    a, b = both("/v1/classify", {"support": labelled(examples), "inputs": asked}, plain)
    assert a["results"] == b["results"]
    more = [("new", png(7115, i)) for i in range(2)]
    a, b = both(f"{path}/examples", {"examples": labelled(more)}, {"examples": labelled_text(more)})
    assert (a["version"], b["version"]) == (2, 2), "the second sending brings nothing new"
    asked_for = {"format": "onnx"}
    assert post(http, f"{path}/exports", asked_for).content == http.post(f"{path}/exports", json=asked_for).content


def labelled_text(examples: list[Labelled]) -> list[dict[str, Any]]:
    return [{"label": label, "input": {"image": b64(data)}} for label, data in examples]


def test_base64_is_understood_too(http: httpx.Client) -> None:
    assert post(http, "/v1/models", {"support": labelled_text(drawn(2, 1, first=7120))}).status_code == 201


def test_a_bad_example_is_named(http: httpx.Client) -> None:
    body = {"support": labelled([*drawn(2, 1, first=7125), ("torn", blank())])}
    problem = assert_problem(post(http, "/v1/models", body), 422, "blank_image")
    assert problem["errors"][0]["pointer"] == "/support/2/input/image"


GOOD = labelled(drawn(2, 1, first=7130))
HEADER = b"\xdd\x00\x0f\x42\x40"  # an array of a million

BAD: dict[str, tuple[Any, int, str]] = {
    "nothing": (b"", 400, "invalid_msgpack"),
    "torn": (msgpack.packb({"support": GOOD})[:-9], 400, "invalid_msgpack"),
    "two values": (msgpack.packb({"support": GOOD}) * 2, 400, "invalid_msgpack"),
    "no such byte": (b"\xc1", 400, "invalid_msgpack"),
    "text that is not UTF-8": (b"\x81\xa4name\xa1\xff", 400, "invalid_msgpack"),
    "an extension": ({"support": GOOD, "name": msgpack.ExtType(5, b"x")}, 400, "invalid_msgpack"),
    "an empty extension": ({"name": msgpack.ExtType(5, b"")}, 400, "invalid_msgpack"),
    "a timestamp": ({"name": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)}, 400, "invalid_msgpack"),
    "nested too deep": (b"\x91" * 100_000 + b"\xc0", 400, "invalid_msgpack"),
    "an array longer than its body": (HEADER * 300, 400, "invalid_msgpack"),
    "too many items": (msgpack.packb({"support": [0] * 200_000}), 413, "body_too_large"),
    "keys that are numbers": ({1: 2}, 400, "invalid_msgpack"),
    "keys that are bytes": ({b"support": GOOD}, 422, "invalid_request"),
    "a list": ([], 422, "invalid_request"),
    "bytes for a label": ({"support": [{"label": b"a", "input": {"image": b"x"}}]}, 422, "invalid_request"),
    "not a number": ({"support": GOOD, "adaptation": {"inner_lr": float("nan")}}, 422, "invalid_request"),
    "infinite": ({"support": GOOD, "ttl_seconds": float("inf")}, 422, "invalid_request"),
    "unknown member": ({"support": GOOD, "surprise": 1}, 422, "invalid_request"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bodies(http: httpx.Client, name: str) -> None:
    body, status, code = BAD[name]
    assert_problem(post(http, "/v1/models", body), status, code)


def test_a_patch_is_json(http: httpx.Client) -> None:
    path = f"/v1/models/{adapt(http, drawn(2, 1, first=7140))['id']}"
    answer = http.patch(path, content=msgpack.packb({"name": "x"}), headers={"Content-Type": TYPES[0]})
    assert "application/json" in assert_problem(answer, 415)["detail"]
