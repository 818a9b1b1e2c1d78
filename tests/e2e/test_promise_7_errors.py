"""Promise 7: errors are answers: problem+json with every field, the right status, which example is wrong and why."""

from __future__ import annotations

import io
import json
import socket
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from innerloop.embedded import Embedded
from tests.asking import adapt, archive_of, assert_problem, best, drawn, parts_of, predict, support_of
from tests.drawings import b64, encoded, inputs_json, png, sketch

GOOD = support_of(drawn(2, 2, first=2700))
BLANK = encoded(Image.new("L", (60, 60), 255))
TORN = png(1, 1)[:200]
JSON = {"Content-Type": "application/json"}


def bomb(side: int = 50_000) -> bytes:
    """A few bytes of PNG that would be gigapixels."""
    data = bytearray(encoded(Image.new("1", (8, 8), 1)))
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def with_example(label: str, data: bytes) -> dict[str, Any]:
    """A good support set with one more example, its third."""
    return {"support": [*GOOD[:2], {"label": label, "input": {"image": b64(data)}}, *GOOD[2:]]}


def post(path: str = "/v1/models", **request: Any) -> Callable[[httpx.Client], httpx.Response]:
    return lambda http: http.post(path, **request)


def send(method: str, path: str, **request: Any) -> Callable[[httpx.Client], httpx.Response]:
    return lambda http: http.request(method, path, **request)


BAD_REQUESTS: dict[str, tuple[Callable[[httpx.Client], httpx.Response], int, str | None]] = {
    "unknown route": (send("GET", "/v1/nothing"), 404, "not_found"),
    "unknown root": (send("GET", "/nothing"), 404, "not_found"),
    "unknown meta-model": (send("GET", "/v1/meta-models/none"), 404, "not_found"),
    "wrong method": (send("PUT", "/v1/models", json={}), 405, "method_not_allowed"),
    "wrong method on classify": (send("GET", "/v1/classify"), 405, "method_not_allowed"),
    "torn JSON": (post(content=b'{"support": [', headers=JSON), 400, "invalid_json"),
    "empty body": (post(content=b"", headers=JSON), 400, "invalid_json"),
    "not UTF-8": (post(content=b'{"name": "\xff"}', headers=JSON), 400, "invalid_json"),
    "lone surrogate": (post(content=b'{"name": "\\ud800"}', headers=JSON), 400, "invalid_json"),
    "nested too deep": (post(content=b"[" * 100_000, headers=JSON), 400, "invalid_json"),
    "no media type": (post(content=b"{}"), 415, "unsupported_media_type"),
    "wrong media type": (post(content=b"x", headers={"Content-Type": "text/csv"}), 415, "unsupported_media_type"),
    "packed body": (
        post(json={"support": GOOD}, headers={"Content-Encoding": "gzip"}), 415, "unsupported_media_type",
    ),
    "multipart without boundary": (
        post(content=b"x", headers={"Content-Type": "multipart/form-data"}), 400, None,
    ),
    "torn multipart": (
        post(content=b"--x\r\nConte", headers={"Content-Type": "multipart/form-data; boundary=x"}), 400, None,
    ),
    "body is a list": (post(json=[]), 422, "invalid_request"),
    "body is null": (post(json=None, content=b"null", headers=JSON), 422, "invalid_request"),
    "no support": (post(json={}), 422, "invalid_request"),
    "support is text": (post(json={"support": "x"}), 422, "invalid_request"),
    "unknown member": (post(json={"support": GOOD, "surprise": 1}), 422, "invalid_request"),
    "empty support": (post(json={"support": []}), 422, "too_few_classes"),
    "one class": (post(json={"support": GOOD[:2]}), 422, "too_few_classes"),
    "unknown meta_model": (post(json={"support": GOOD, "meta_model": "x"}), 422, "unknown_meta_model"),
    "unknown version": (post(json={"support": GOOD, "meta_model": "omniglot-maml@99"}), 422, "unknown_meta_model"),
    "zero ttl": (post(json={"support": GOOD, "ttl_seconds": 0}), 422, "invalid_request"),
    "endless ttl": (post(json={"support": GOOD, "ttl_seconds": 10**12}), 422, "invalid_request"),
    "ttl is text": (post(json={"support": GOOD, "ttl_seconds": "long"}), 422, "invalid_request"),
    "long name": (post(json={"support": GOOD, "name": "x" * 201}), 422, "invalid_request"),
    "name is a number": (post(json={"support": GOOD, "name": 5}), 422, "invalid_request"),
    "too many steps": (post(json={"support": GOOD, "adaptation": {"inner_steps": 10**6}}), 422, "invalid_request"),
    "negative steps": (post(json={"support": GOOD, "adaptation": {"inner_steps": -1}}), 422, "invalid_request"),
    "zero inner_lr": (post(json={"support": GOOD, "adaptation": {"inner_lr": 0}}), 422, "invalid_request"),
    "huge inner_lr": (post(json={"support": GOOD, "adaptation": {"inner_lr": 1e300}}), 422, "invalid_request"),
    "inner_lr is not a number": (
        post(content=b'{"support": [], "adaptation": {"inner_lr": NaN}}', headers=JSON), 422, "invalid_request",
    ),
    "text for images": (
        post(json={"support": [{"label": c, "input": {"text": c}} for c in "ab"]}), 422, None,
    ),
    "wait for what": (post(json={"support": GOOD}, headers={"Prefer": "wait=soon"}), 400, "malformed_request"),
    "wait backwards": (post(json={"support": GOOD}, headers={"Prefer": "wait=-1"}), 400, "malformed_request"),
    "long key": (post(json={"support": GOOD}, headers={"Idempotency-Key": "x" * 500}), 422, "invalid_request"),
    "unknown form field": (post(files=parts_of(drawn(2, 1, first=1)), data={"colour": "red"}), 422, "unknown_field"),
    "label without name": (post(files=[("support[]", ("a.png", png(1, 1)))]), 422, None),
    "archive is no zip": (post(files={"archive": ("a.zip", b"x")}), 422, "undecodable_archive"),
    "empty archive": (post(files=archive_of({})), 422, None),
    "archive without folders": (post(files=archive_of({"a.png": png(1, 1), "b.png": png(2, 1)})), 422, None),
    "page of nothing": (send("GET", "/v1/models?limit=0"), 422, "invalid_request"),
    "page of everything": (send("GET", "/v1/models?limit=100000"), 422, "invalid_request"),
    "page of text": (send("GET", "/v1/models?limit=x"), 422, "invalid_request"),
}  # fmt: skip

BAD_EXAMPLES: dict[str, tuple[str, bytes, str]] = {
    "not an image": ("torn", b"hello", "undecodable_image"),
    "torn image": ("torn", TORN, "undecodable_image"),
    "torn JPEG": ("torn", encoded(sketch(1, 1, 300), "JPEG")[:1500], "undecodable_image"),
    "no bytes": ("torn", b"", "empty_image"),
    "blank": ("torn", BLANK, "blank_image"),
    "transparent through and through": ("torn", encoded(Image.new("RGBA", (50, 50))), "blank_image"),
    "gigapixels": ("torn", bomb(), "image_too_large"),
    "100 megapixels": ("torn", bomb(10_000), "image_too_large"),
    "svg": ("torn", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "undecodable_image"),
    "empty label": ("", png(1, 1), "bad_label"),
    "long label": ("x" * 201, png(1, 1), "bad_label"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_request(http: httpx.Client, name: str) -> None:
    ask, status, code = BAD_REQUESTS[name]
    problem = assert_problem(ask(http), status, code)
    assert not problem["retryable"], "the same request cannot succeed later"


@pytest.mark.parametrize("name", BAD_EXAMPLES)
def test_bad_example_is_named(http: httpx.Client, name: str) -> None:
    label, data, code = BAD_EXAMPLES[name]
    answer = http.post("/v1/models", json=with_example(label, data))
    problem = assert_problem(answer, answer.status_code, code)
    assert problem["status"] in (413, 422)
    [error] = problem["errors"]
    assert error["pointer"] in ("/support/2/label", "/support/2/input/image"), error
    assert error["code"] == code
    assert error["detail"]
    if label == "torn":
        assert "torn" in error["detail"]


def test_every_bad_example_is_named(http: httpx.Client) -> None:
    support = [*GOOD, *({"label": f"bad {i}", "input": {"image": b64(d)}} for i, d in enumerate([TORN, BLANK]))]
    problem = assert_problem(http.post("/v1/models", json={"support": support}), 422)
    assert [e["pointer"] for e in problem["errors"]] == ["/support/4/input/image", "/support/5/input/image"]
    assert [e["code"] for e in problem["errors"]] == ["undecodable_image", "blank_image"]


def test_bad_example_of_a_form_or_an_archive_is_named(http: httpx.Client) -> None:
    examples = [*drawn(2, 1, first=1), ("torn", TORN)]
    by_form = assert_problem(http.post("/v1/models", files=parts_of(examples)), 422, "undecodable_image")
    assert "torn" in json.dumps(by_form["errors"])
    files = {"a/1.png": png(1, 1), "b/2.png": png(2, 1), "b/broken one.png": TORN}
    by_archive = assert_problem(http.post("/v1/models", files=archive_of(files)), 422, "undecodable_image")
    assert "b/broken one.png" in json.dumps(by_archive["errors"])


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
    images = [png(2750, 9), b"hello", png(2751, 9), BLANK, b"", bomb(), TORN, png(2752, 9)]
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


def test_body_over_the_cap_is_refused_by_its_length_alone(http: httpx.Client, server: Embedded) -> None:
    """The announced length is enough: no byte of the body is sent."""
    cap = http.get("/v1/limits").json()["max_body_bytes"]
    where = urlsplit(server.url)
    with socket.create_connection((where.hostname, where.port), timeout=30) as connection:
        head = f"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {cap + 1}\r\n"
        connection.sendall(f"{head}\r\n".encode())
        answer = connection.makefile("rb")
        assert b" 413 " in answer.readline()
        headers = dict(line.decode().lower().strip().split(": ", 1) for line in iter(answer.readline, b"\r\n"))
        assert headers["content-type"].startswith("application/problem+json")
        problem = json.loads(answer.read(int(headers["content-length"])))
    assert (problem["status"], problem["retryable"]) == (413, False)
    assert problem["code"] == "body_too_large"
    assert http.get("/healthz").status_code == 200


def test_body_over_the_cap_without_a_length(http: httpx.Client) -> None:
    cap = http.get("/v1/limits").json()["max_body_bytes"]
    chunk = b" " * 2**20

    def body() -> Iterator[bytes]:
        for _ in range(cap // len(chunk) + 1):
            yield chunk

    assert_problem(http.post("/v1/models", content=body(), headers=JSON), 413, "body_too_large")


def test_torn_form_is_not_taken_for_a_smaller_one(http: httpx.Client) -> None:
    """A body that ends before its closing boundary lacks something: nothing of it may be adapted to."""
    request = http.build_request("POST", "/v1/models", files=parts_of(drawn(2, 3, first=2760)))
    body = request.read()
    for end in (len(body) // 2, len(body) - 500, len(body) - 4):
        torn = http.post("/v1/models", content=body[:end], headers={"Content-Type": request.headers["content-type"]})
        assert_problem(torn, 400)


def test_image_over_the_cap(http: httpx.Client, model: str) -> None:
    cap = http.get("/v1/limits").json()["max_image_bytes"]
    [result] = predict(http, model, [png(1, 1) + b"\0" * cap])
    assert (result["error"]["code"], result["error"]["status"]) == ("image_too_large", 413)


def test_bad_cursors(http: httpx.Client) -> None:
    for cursor in ("x", "mdl_", "\0", "é", "x" * 5000, "-1", "*"):
        problem = assert_problem(http.get("/v1/models", params={"after": cursor}), 422)
        assert "after" in json.dumps(problem["errors"]), cursor


def test_request_ids_differ_and_are_in_the_header(http: httpx.Client) -> None:
    answers = [http.get("/v1/models/mdl_none") for _ in range(3)]
    ids = [assert_problem(answer, 404)["request_id"] for answer in answers]
    assert len(set(ids)) == 3
    assert [answer.headers.get("x-request-id") for answer in answers] == ids


def test_allow_lists_every_method_of_the_route(http: httpx.Client) -> None:
    answer = http.put("/v1/models")
    assert_problem(answer, 405)
    assert {m.strip() for m in answer.headers["allow"].split(",")} >= {"GET", "POST"}


def test_archive_bomb(http: httpx.Client) -> None:
    """A small zip of large files is refused, not unpacked."""
    buffer = io.BytesIO()
    files = {f"{c}/{i}.png": b"\0" * 2**22 for c in "ab" for i in range(20)}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    answer = http.post("/v1/models", files={"archive": ("a.zip", buffer.getvalue())})
    assert_problem(answer, 413)


def test_nothing_refused_was_kept(http: httpx.Client) -> None:
    before = http.get("/v1/models", params={"limit": 100}).json()
    for label, data, _ in BAD_EXAMPLES.values():
        http.post("/v1/models", json=with_example(label, data))
    assert http.get("/v1/models", params={"limit": 100}).json() == before
