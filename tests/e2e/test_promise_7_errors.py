"""Promise 7: errors are answers: problem+json with every field, the right status, which example is wrong and why."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from http.client import HTTPResponse
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.asking import PROBLEM_FIELDS, archive_of, assert_problem, drawn, parts_of, support_of
from tests.drawings import b64, blank, bomb, encoded, png, sketch

GOOD = support_of(drawn(2, 2, first=2700))
MAML = {"meta_model": "omniglot-maml", "support": GOOD}
TORN = png(1, 1)[:200]
JSON = {"Content-Type": "application/json"}


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
    "a slash too many": (send("POST", "/v1/models/", json={}), 404, "not_found"),
    "misspelt parameter": (send("GET", "/v1/models?limits=5"), 422, "unknown_parameter"),
    "misspelt version": (post("/v1/models/mdl_none/predictions?verison=1", json={}), 422, "unknown_parameter"),
    "parameter where there is none": (send("GET", "/v1/limits?x"), 422, "unknown_parameter"),
    "parameter twice": (send("GET", "/v1/models?limit=5&limit=6"), 422, "invalid_request"),
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
    "ttl is a number in quotes": (post(json={"support": GOOD, "ttl_seconds": "600"}), 422, "invalid_request"),
    "steps are a truth": (post(json={**MAML, "adaptation": {"inner_steps": True}}), 422, "invalid_request"),
    "ttl beyond every number": (
        post(content=b'{"support": [], "ttl_seconds": ' + b"9" * 4000 + b"}", headers=JSON), 422, "invalid_request",
    ),
    "long name": (post(json={"support": GOOD, "name": "x" * 201}), 422, "invalid_request"),
    "name that moves the cursor": (post(json={"support": GOOD, "name": "\x1b[31m"}), 422, "invalid_request"),
    "name of two lines in a form": (
        post(files=parts_of(drawn(2, 1, first=1)), data={"name": "a\nb"}), 422, "invalid_request",
    ),
    "name is a number": (post(json={"support": GOOD, "name": 5}), 422, "invalid_request"),
    "too many steps": (post(json={**MAML, "adaptation": {"inner_steps": 10**6}}), 422, "invalid_request"),
    "negative steps": (post(json={**MAML, "adaptation": {"inner_steps": -1}}), 422, "invalid_request"),
    "zero inner_lr": (post(json={**MAML, "adaptation": {"inner_lr": 0}}), 422, "invalid_request"),
    "huge inner_lr": (post(json={**MAML, "adaptation": {"inner_lr": 1e300}}), 422, "invalid_request"),
    "inner_lr is not a number": (
        post(content=b'{"support": [], "adaptation": {"inner_lr": NaN}}', headers=JSON), 422, "invalid_request",
    ),
    "text for images": (
        post(json={"meta_model": "drawing", "support": [{"label": c, "input": {"text": c}} for c in "ab"]}),
        422, "wrong_modality",
    ),
    "an image and a null": (
        post(json={"support": [{"label": c, "input": {"image": b64(png(1, 1)), "vector": None}} for c in "ab"]}),
        422, "invalid_request",
    ),
    "a null for an image": (
        post(json={"support": [{"label": c, "input": {"image": None}} for c in "ab"]}), 422, "invalid_request",
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
    "blank": ("torn", blank(), "blank_image"),
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
    problem = assert_problem(answer, 413 if code == "image_too_large" else 422, code)
    [error] = problem["errors"]
    assert error["pointer"] in ("/support/2/label", "/support/2/input/image"), error
    assert error["code"] == code
    assert error["detail"]
    if label == "torn":
        assert "torn" in error["detail"]


def test_every_bad_example_is_named(http: httpx.Client) -> None:
    support = [*GOOD, *({"label": f"bad {i}", "input": {"image": b64(d)}} for i, d in enumerate([TORN, blank()]))]
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


def test_the_odd_one_out_is_named_wherever_it_stands(http: httpx.Client) -> None:
    files = [("support[a]", ("README.md", b"# Drawings")), *parts_of(drawn(2, 2, first=1))]
    found = assert_problem(http.post("/v1/models", files=files), 422)
    assert [error["pointer"] for error in found["errors"]] == ["support[a] README.md"]


@pytest.mark.parametrize(
    ("faults", "code", "told"),
    [
        ([0] * 50_000, "invalid_request", 0),
        ([0] * 500, "invalid_request", 100),
        ([0] * 200_000, "body_too_large", 1),
        ([{"label": "a", "input": {"vector": ["x"] * 200_000}}], "invalid_request", 1),
    ],
)
def test_a_body_full_of_faults_gets_a_short_answer(http: httpx.Client, faults: list[Any], code: str, told: int) -> None:
    answer = http.post("/v1/classify", json={"support": faults, "inputs": [{"vector": [1]}]})
    found = assert_problem(answer, 413 if code == "body_too_large" else 422, code)
    assert len(found.get("errors", [])) == told
    assert len(answer.content) < 30_000


def test_torn_form_is_not_taken_for_a_smaller_one(http: httpx.Client) -> None:
    """A body that ends before its closing boundary lacks something: nothing of it may be adapted to."""
    request = http.build_request("POST", "/v1/models", files=parts_of(drawn(2, 3, first=2760)))
    body = request.read()
    for end in (len(body) // 2, len(body) - 500, len(body) - 4):
        torn = http.post("/v1/models", content=body[:end], headers={"Content-Type": request.headers["content-type"]})
        assert_problem(torn, 400)


def test_bad_cursors(http: httpx.Client) -> None:
    for cursor in ("x", "mdl_", "٣-mdl_" + "0" * 32, "9" * 400 + "-mdl_" + "0" * 32, "\0", "é", "x" * 5000, "-1", "*"):
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
    assert "takes GET, HEAD, POST, not PUT" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css"])
def test_pages_outside_the_document_say_what_they_take(http: httpx.Client, path: str) -> None:
    answer = http.post(path)
    assert_problem(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD"
    assert f"{path} takes GET, HEAD, not POST" in answer.json()["detail"]
    assert http.get(path).status_code == http.head(path).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"FOO /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/models HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost x\r\n\r\n",
        b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"\x16\x03\x01 a client that speaks TLS",
    ],
)
def test_what_is_not_http_is_answered_too(http: httpx.Client, sent: bytes) -> None:
    with socket.create_connection((http.base_url.host, http.base_url.port or 0), 30) as connection:
        connection.sendall(sent)
        answer = HTTPResponse(connection)
        answer.begin()
        body = answer.read()
        assert connection.recv(1) == b"", "nobody can tell where the next request begins"
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json")
    problem = json.loads(body)
    assert set(problem) >= PROBLEM_FIELDS
    assert problem["code"] == "malformed_request"
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    assert "HTTP/1.1" in problem["detail"]


def test_head_is_get_without_its_body_and_the_connection_stays(http: httpx.Client) -> None:
    with httpx.Client(base_url=http.base_url, limits=httpx.Limits(max_connections=1)) as alone:
        ports: set[int] = set()
        for path, status in (("/healthz", 200), ("/v1/models", 200), ("/v1/models/mdl_none", 404), ("/healthz", 200)):
            answer = alone.head(path)
            assert (answer.status_code, answer.content) == (status, b"")
            assert int(answer.headers["content-length"]) > 0
            ports.add(answer.extensions["network_stream"].get_extra_info("client_addr")[1])
        assert len(ports) == 1


def test_nothing_refused_was_kept(http: httpx.Client) -> None:
    before = http.get("/v1/models", params={"limit": 100}).json()
    for label, data, _ in BAD_EXAMPLES.values():
        http.post("/v1/models", json=with_example(label, data))
    assert http.get("/v1/models", params={"limit": 100}).json() == before
