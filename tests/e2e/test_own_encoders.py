"""Encoders of one's own, published by the command and served: adapted, asked, exported, as any other meta-model."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from adapter.config import Settings
from innerloop.cli.console import ExitCode
from innerloop.embedded import Embedded
from meta_models.exported import TOLERANCE, ExportedClassifier
from tests import encoders
from tests.asking import measured, probabilities
from tests.drawings import b64

ROOT = Path(__file__).parent.parent.parent
N_WAY = 5


def innerloop(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "innerloop", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With two meta-models in `meta-models`."""
    where: Path = tmp_path_factory.mktemp("own")
    encoders.image_encoder(where / "tiny")
    encoders.text_encoder(where / "words", padding=1)
    encoders.photos(where / "photos")
    encoders.texts(where / "texts.csv")

    def add(name: str, encoder: str, data: str) -> None:
        options = ("--encoder", encoder, "--data", data, "--episodes", "20", "--json")
        ran = innerloop(where, "meta-models", "add", name, *options)
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout)["folder"] == f"meta-models/{name}"

    with ThreadPoolExecutor() as pool:  # a core each
        list(pool.map(add, ("own-photos", "own-texts"), ("tiny", "words"), ("photos", "texts.csv")))
    return where


@pytest.fixture(scope="module")
def own(folder: Path) -> Iterator[httpx.Client]:
    """A client of a server with those meta-models."""
    settings = Settings(port=0, data_dir=folder / "data", meta_models_dir=folder / "meta-models")
    with Embedded(settings) as running, httpx.Client(base_url=running.url, timeout=60) as client:
        yield client


def example(name: str, kind: int, number: int) -> str | bytes:
    """A text, or a picture's file."""
    if name == "own-texts":
        return encoders.text(kind, number)
    file = io.BytesIO()
    encoders.photo(kind, number).save(file, "PNG")
    return file.getvalue()


def content(given: str | bytes) -> dict[str, str]:
    return {"text": given} if isinstance(given, str) else {"image": b64(given)}


def label(name: str, kind: int) -> str:
    return encoders.word(kind, 0) if name == "own-texts" else f"colour {kind}"


def adapt(http: httpx.Client, name: str) -> dict[str, Any]:
    support = [
        {"label": label(name, k), "input": content(example(name, k, 100 + i))} for k in range(N_WAY) for i in range(5)
    ]
    answer = http.post("/v1/models", json={"meta_model": name, "support": support}, headers={"Prefer": "wait=60"})
    assert answer.status_code == 201, answer.text
    return measured(http, answer.json())


@pytest.mark.parametrize("name", ["own-photos", "own-texts"])
def test_classes_are_told_apart_in_the_service_and_in_exports(own: httpx.Client, name: str) -> None:
    model = adapt(own, name)
    assert model["meta_model"] == f"{name}@1"
    assert model["quality"]["accuracy"] > 0.7
    kinds = np.arange(30) % N_WAY
    asked = [example(name, int(kind), 200 + number) for number, kind in enumerate(kinds)]
    path = f"/v1/models/{model['id']}"
    body = {"inputs": [content(one) for one in asked], "top_k": N_WAY}
    served = [probabilities(result) for result in own.post(f"{path}/predictions", json=body).json()["results"]]
    best = [max(row, key=lambda name: row[name]) for row in served]
    assert np.mean([said == label(name, int(kind)) for said, kind in zip(best, kinds, strict=True)]) > 0.8
    data = own.post(f"{path}/exports", json={"format": "onnx"})
    assert data.status_code == 200, data.text
    exported = ExportedClassifier(data.content)
    here, _ = exported(np.stack([exported.read(one) for one in asked]))
    for row, there in zip(here, served, strict=True):
        assert row == pytest.approx([there[name] for name in exported.classes], abs=TOLERANCE)


@pytest.mark.parametrize("name", ["own-photos", "own-texts"])
def test_a_query_is_answered_by_itself(own: httpx.Client, name: str) -> None:
    path = f"/v1/models/{adapt(own, name)['id']}/predictions"
    asked = [content(example(name, k, 300)) for k in range(N_WAY)]
    together = own.post(path, json={"inputs": asked}).json()["results"]
    for query, expected in zip(asked, together, strict=True):
        [alone] = own.post(path, json={"inputs": [query]}).json()["results"]
        assert alone["confidence"] == pytest.approx(expected["confidence"], abs=1e-6)


def test_the_card_says_what_was_measured(own: httpx.Client) -> None:
    cards = {card["name"]: card for card in own.get("/v1/meta-models").json()["data"]}
    photos, texts = cards["own-photos"], cards["own-texts"]
    assert (photos["modality"], texts["modality"]) == ("image", "text")
    assert photos["training"]["licence"] == "apache-2.0"
    assert texts["training"]["licence"] == "not stated"
    assert {f["protocol"] for f in texts["benchmarks"]} == {"own classes", "own classes, names hidden"}
    assert all(f["command"].startswith("innerloop meta-models add own-photos") for f in photos["benchmarks"])
    assert photos["aliases"] == texts["aliases"] == []


def test_what_it_cannot_do_it_says(folder: Path) -> None:
    few = encoders.photos(folder / "few", 3)
    refused = innerloop(folder, "meta-models", "add", "few", "--encoder", "tiny", "--data", str(few), "--json")
    assert refused.returncode == ExitCode.REFUSED
    assert "has 3 classes, at least 18 are needed" in json.loads(refused.stderr.splitlines()[-1])["error"]["detail"]
    wrong = innerloop(folder, "meta-models", "add", "few", "--encoder", "tiny", "--data", "few", "--mean", "1,2")
    assert wrong.returncode == 2
