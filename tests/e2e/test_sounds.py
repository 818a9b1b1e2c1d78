"""Sounds through HTTP: base64 in JSON, bytes in MessagePack, files in forms and archives."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import httpx
import msgpack
import numpy as np
import pytest

from innerloop.client import Client
from innerloop.client.errors import SilentAudio
from meta_models.exported import TOLERANCE, ExportedClassifier
from tests.asking import assert_problem, best, measured, probabilities
from tests.drawings import b64, png
from tests.sounds import clipped, encoded, inputs_json, melody, silence, support_json, wav

WAIT = {"Prefer": "wait=60"}
HEADS = ("sound-protonet", "sound-anil")


def adapt(http: httpx.Client, n_way: int = 3, n_shot: int = 3, **options: Any) -> dict[str, Any]:
    answer = http.post("/v1/models", json={"support": support_json(n_way, n_shot), **options}, headers=WAIT)
    assert answer.status_code == 201, answer.text
    return measured(http, answer.json())


def ask(http: httpx.Client, model_id: str, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answer = http.post(f"/v1/models/{model_id}/predictions", json={"inputs": inputs, "top_k": 100})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


@pytest.mark.parametrize("head", HEADS)
def test_melodies_are_classified(http: httpx.Client, head: str) -> None:
    model = adapt(http, 5, 3, meta_model=head)
    assert model["modality"] == "audio"
    assert model["meta_model"].startswith(head)
    kinds = [0, 1, 2, 3, 4] * 4
    found = ask(http, model["id"], [q for i in range(4) for q in inputs_json(kinds[:5], 100 + i)])
    assert np.mean([b == f"class {k}" for b, k in zip(best(found), kinds, strict=True)]) > 0.9


def test_the_default_of_sounds_is_their_best_meta_model(http: httpx.Client) -> None:
    cards = {card["name"]: card for card in http.get("/v1/meta-models").json()["data"]}
    top = max(HEADS, key=lambda name: cards[name]["training"]["development_accuracy"])
    assert cards[top]["aliases"] == ["sound"]
    assert adapt(http)["meta_model"] == cards[top]["reference"]


def test_every_way_to_send_a_support_set_makes_the_same_model(http: httpx.Client) -> None:
    model = adapt(http, 2, 2)
    files = {(kind, i): wav(kind, i) for kind in range(2) for i in range(2)}
    parts = [(f"support[class {kind}]", (f"{i}.wav", data)) for (kind, i), data in files.items()]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for (kind, i), data in files.items():
            archive.writestr(f"class {kind}/{i}.wav", data)
    support = [{"label": f"class {kind}", "input": {"audio": data}} for (kind, _), data in files.items()]
    lossless = [
        (name, (file, encoded(melody(k, i), format="FLAC")))
        for (name, (file, _)), (k, i) in zip(parts, files, strict=True)
    ]
    for request in (
        {"files": parts},
        {"files": {"archive": ("sounds.zip", packed.getvalue())}},
        {"content": msgpack.packb({"support": support}), "headers": {"Content-Type": "application/msgpack"}},
        {"files": lossless},
    ):
        request["headers"] = {**WAIT, **request.get("headers", {})}
        assert http.post("/v1/models", **request).json()["id"] == model["id"]


def test_one_bad_file_names_itself_and_the_rest_is_answered(http: httpx.Client) -> None:
    model = adapt(http, 2, 2)
    bad = [b"hello", silence(), clipped(), png(1, 1), wav(1)[:30], b""]
    good = inputs_json([0, 1])
    results = ask(http, model["id"], [good[0], *({"audio": b64(data)} for data in bad), good[1]])
    assert [r["error"]["code"] for r in results[1:-1]] == [
        "undecodable_audio",
        "silent_audio",
        "clipped_audio",
        "undecodable_audio",
        "undecodable_audio",
        "empty_audio",
    ]
    assert [results[0], results[-1]] == ask(http, model["id"], good)
    parts = [("inputs", (f"{i}", data)) for i, data in enumerate([wav(0, 100), *bad[:4], wav(1, 100)])]
    answered = http.post(f"/v1/models/{model['id']}/predictions", files=parts).json()["results"]
    assert [r["id"] for r in answered if "error" in r] == ["1", "2", "3", "4"]
    assert best([answered[0], answered[-1]]) == ["class 0", "class 1"]


def test_a_support_set_lists_every_bad_file(http: httpx.Client) -> None:
    support = [*support_json(2, 1), *({"label": "x", "input": {"audio": b64(d)}} for d in (silence(), b"hello"))]
    problem = assert_problem(http.post("/v1/models", json={"support": support}), 422, "silent_audio")
    assert [(e["pointer"], e["code"]) for e in problem["errors"]] == [
        ("/support/2/input/audio", "silent_audio"),
        ("/support/3/input/audio", "undecodable_audio"),
    ]


def test_sounds_and_pictures_do_not_mix(http: httpx.Client) -> None:
    mixed = [*support_json(2, 1), {"label": "x", "input": {"image": b64(png(1, 1))}}]
    assert_problem(http.post("/v1/models", json={"support": mixed}), 422, "wrong_modality")
    body = {"meta_model": "drawing", "support": support_json(2, 1)}
    assert_problem(http.post("/v1/models", json=body), 422, "wrong_modality")


def test_limits_say_how_long_and_how_large(http: httpx.Client) -> None:
    limits = http.get("/v1/limits").json()
    model = adapt(http, 2, 2)
    long = encoded(melody(0, seconds=1.1 * limits["max_audio_seconds"]), format="FLAC")
    large = wav(0) + bytes(limits["max_audio_bytes"])
    parts = [("inputs", (name, data)) for name, data in (("long", long), ("large", large))]
    results = http.post(f"/v1/models/{model['id']}/predictions", files=parts).json()["results"]
    assert [(r["error"]["code"], r["error"]["status"]) for r in results] == [("audio_too_large", 413)] * 2


@pytest.mark.parametrize("head", HEADS)
def test_company_changes_nothing(http: httpx.Client, head: str) -> None:
    """Promise 3 to the bit."""
    model = adapt(http, 3, 2, meta_model=head)
    queries = inputs_json([i % 3 for i in range(9)])
    together = [probabilities(r) for r in ask(http, model["id"], queries)]
    assert [probabilities(ask(http, model["id"], [q])[0]) for q in queries] == together


@pytest.mark.parametrize("head", HEADS)
def test_an_export_hears_as_the_service_does(http: httpx.Client, head: str) -> None:
    """The spectrogram is in the graph: samples go in."""
    model = adapt(http, 3, 2, meta_model=head)
    answer = http.post(f"/v1/models/{model['id']}/exports", json={"format": "onnx"})
    assert answer.status_code == 200, answer.text
    exported = ExportedClassifier(answer.content)
    found, rejected = exported(np.stack([exported.read(wav(kind, 100)) for kind in range(3)]))
    for i, result in enumerate(ask(http, model["id"], inputs_json([0, 1, 2]))):
        served = probabilities(result)
        np.testing.assert_allclose(found[i], [served[name] for name in exported.classes], atol=TOLERANCE)
        assert rejected[i] == result["rejected"]


def test_the_client_knows_a_sound_when_it_sees_one(http: httpx.Client) -> None:
    examples = [(f"class {kind}", encoded(melody(kind, i), format="MP3")) for kind in range(2) for i in range(2)]
    with Client(str(http.base_url)) as client:
        model = client.adapt(examples)
        assert model["modality"] == "audio"
        found = client.predict(model["id"], [wav(1, 100), encoded(melody(0, 100), format="OGG")])
        assert best(found) == ["class 1", "class 0"]
        with pytest.raises(SilentAudio, match="no sound found"):
            client.adapt([*examples, ("class 0", silence())])
