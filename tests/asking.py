"""What tests ask of the service, and what every answer of a kind must look like."""

from __future__ import annotations

import io
import re
import time
import zipfile
from collections.abc import Iterable
from typing import Any

import httpx

from tests.drawings import b64, png

META_MODELS = ("omniglot-protonet", "omniglot-maml")

PROBLEM_FIELDS = {"type", "title", "status", "detail", "instance", "code", "request_id", "retryable", "errors"}

Labelled = tuple[str, bytes]
"""A label and an encoded image."""


def drawn(n_way: int, n_shot: int, *, first: int) -> list[Labelled]:
    """`n_shot` sketches of each of the kinds `first` …; class i is labelled "class i"."""
    return [(f"class {way}", png(first + way, shot)) for way in range(n_way) for shot in range(n_shot)]


def support_of(examples: Iterable[Labelled]) -> list[dict[str, Any]]:
    """`support` of a JSON request."""
    return [{"label": label, "input": {"image": b64(data)}} for label, data in examples]


def parts_of(examples: Iterable[Labelled]) -> list[tuple[str, tuple[str, bytes, str]]]:
    """The same as multipart file parts."""
    return [(f"support[{label}]", (f"{i}.png", data, "image/png")) for i, (label, data) in enumerate(examples)]


def in_folders(examples: Iterable[Labelled]) -> dict[str, bytes]:
    """The same as files in a folder per class."""
    return {f"{label}/{i}.png": data for i, (label, data) in enumerate(examples)}


def archive_of(files: dict[str, bytes]) -> dict[str, tuple[str, bytes, str]]:
    """A multipart part `archive`: a zip of these files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return {"archive": ("support.zip", file.getvalue(), "application/zip")}


def adapt(http: httpx.Client, examples: Iterable[Labelled], **options: Any) -> dict[str, Any]:
    """A model that is ready and measured, so that nothing about it changes by itself any more."""
    answer = http.post("/v1/models", json={"support": support_of(examples), **options}, headers={"Prefer": "wait=60"})
    assert answer.status_code == 201, answer.text
    model: dict[str, Any] = answer.json()
    assert model["status"] == "ready"
    return measured(http, model)


def measured(http: httpx.Client, model: dict[str, Any]) -> dict[str, Any]:
    """The model once its quality is there; where every weight is adapted it comes after `ready`."""
    deadline = time.monotonic() + 60
    while model["quality"] is None:
        assert time.monotonic() < deadline, f"{model['id']} is still not measured after a minute"
        time.sleep(0.01)
        model = http.get(f"/v1/models/{model['id']}").json()
    return model


def settled(http: httpx.Client, location: str) -> dict[str, Any]:
    """The model once nothing more happens to it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        model: dict[str, Any] = http.get(location).json()
        if model["status"] not in {"queued", "adapting"}:
            return model
        time.sleep(0.01)
    raise AssertionError(f"{location} still {model['status']} after a minute")


def predict(http: httpx.Client, model: str, images: Iterable[bytes], *, top_k: int = 200) -> list[dict[str, Any]]:
    """One result for each image."""
    inputs = [{"id": f"q{i}", "image": b64(data)} for i, data in enumerate(images)]
    answer = http.post(f"/v1/models/{model}/predictions", json={"inputs": inputs, "top_k": top_k})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    assert [r["id"] for r in results] == [i["id"] for i in inputs]
    return results


def best(results: Iterable[dict[str, Any]]) -> list[str]:
    """The most probable label of each result, rejected or not."""
    return [r["scores"][0]["label"] for r in results]


def probabilities(result: dict[str, Any]) -> dict[str, float]:
    """Label → probability; scores must come best first and sum to 1 when all are listed."""
    scores = [s["probability"] for s in result["scores"]]
    assert scores == sorted(scores, reverse=True)
    return {s["label"]: s["probability"] for s in result["scores"]}


def assert_problem(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The answer is problem+json with every field of the contract; returned for a closer look."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text[:500]}"
    assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert set(problem) >= PROBLEM_FIELDS, f"without {PROBLEM_FIELDS - set(problem)}"
    assert problem["status"] == status
    assert problem["instance"] == answer.request.url.path
    assert isinstance(problem["retryable"], bool)
    assert isinstance(problem["errors"], list)
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"]
    assert re.fullmatch(r"[a-z0-9_]+", problem["code"]), problem["code"]
    assert problem["code"] in problem["type"], "each code has its own type"
    assert "Traceback" not in answer.text
    if code is not None:
        assert problem["code"] == code, problem
    if status in (429, 503):
        assert int(answer.headers["retry-after"]) >= 0
    return problem
