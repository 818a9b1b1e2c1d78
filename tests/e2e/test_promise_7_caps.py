"""Promise 7 over the caps: 413, whichever way a body is too large."""

from __future__ import annotations

import io
import json
import socket
import zipfile
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import numpy as np

from api.archives import MAX_BYTES
from innerloop.embedded import Embedded
from tests.asking import assert_problem
from tests.sounds import encoded, wav
from tests.vectors import npy

JSON = {"Content-Type": "application/json"}


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


def test_archive_bomb(http: httpx.Client) -> None:
    """A small zip of large files is refused, not unpacked."""
    buffer = io.BytesIO()
    files = {f"{c}/{i}.png": b"\0" * 2**22 for c in "ab" for i in range(20)}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    answer = http.post("/v1/models", files={"archive": ("a.zip", buffer.getvalue())})
    assert_problem(answer, 413)


def test_one_more_than_each_limit_is_refused(http: httpx.Client) -> None:
    """Those that no setting changes."""
    limits = http.get("/v1/limits").json()
    assert limits["max_archive_bytes"] == MAX_BYTES
    wide = [{"label": label, "input": {"vector": [0.5] * (limits["max_vector_dimensions"] + 1)}} for label in "ab"]
    assert_problem(http.post("/v1/models", json={"support": wide}), 413, "vector_too_large")
    rows = {"support[a]": ("a.npy", npy(np.zeros((limits["max_rows"] + 1, 2), np.float32)))}
    assert_problem(http.post("/v1/models", files=rows), 413, "too_many_inputs")
    loud = {"support[a]": ("a.wav", encoded(np.ones((100, limits["max_audio_channels"] + 1))))}
    assert_problem(http.post("/v1/models", files={**loud, "support[b]": ("b.wav", wav(1))}), 413, "audio_too_large")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(limits["max_parts"] + 1):
            archive.writestr(f"a/{i}", b"")
    assert_problem(http.post("/v1/models", files={"archive": ("a.zip", buffer.getvalue())}), 413, "archive_too_large")
