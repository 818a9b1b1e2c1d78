"""Promise 9: what is exported is what is served."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from PIL import Image, ImageOps

from meta_models.bundle import Bundle
from meta_models.catalogue import Catalogue
from meta_models.exported import TOLERANCE, ExportedClassifier, NotAnExportError
from meta_models.inputs import UnreadableInput
from tests.asking import META_MODELS, adapt, assert_problem, drawn, predict, probabilities, support_of
from tests.drawings import blank, encoded, png, sketch
from tests.test_docs import examples


def export(http: httpx.Client, model: str, to: str) -> httpx.Response:
    answer = http.post(f"/v1/models/{model}/exports", json={"format": to})
    assert answer.status_code == 200, answer.text
    return answer


def pictures(kinds: range) -> list[bytes]:
    return [png(kind, 100) for kind in kinds]


@pytest.mark.parametrize(("meta_model", "steps"), [*((name, None) for name in META_MODELS), ("omniglot-maml", 3)])
def test_the_exported_graph_answers_as_the_service(http: httpx.Client, meta_model: str, steps: int | None) -> None:
    options = {"adaptation": {"inner_steps": steps}} if steps else {}
    model = adapt(http, drawn(6, 3, first=3000), meta_model=meta_model, **options)
    answer = export(http, model["id"], "onnx")
    exported = ExportedClassifier(answer.content)
    files = pictures(range(3000, 3012))  # six known kinds, six unknown ones
    here, rejected = exported(np.stack([exported.read(file) for file in files]))
    there = predict(http, model["id"], files)
    for row, unlike, result in zip(here, rejected, there, strict=True):
        served = probabilities(result)
        assert row == pytest.approx([served[name] for name in exported.classes], abs=TOLERANCE)
        assert bool(unlike) == result["rejected"]
    assert exported.about.meta_model == model["meta_model"]
    assert exported.about.digest == model["digest"]
    assert exported.about.parity is not None
    assert exported.about.parity.examples == 18
    assert exported.about.parity.pictures == 6
    assert exported.about.parity.max_difference <= TOLERANCE
    assert (
        f"max-difference={exported.about.parity.max_difference:.1e}; tolerance=1e-05"
        in (answer.headers["innerloop-parity"])
    )
    assert answer.headers["content-disposition"] == f'attachment; filename="{model["id"]}.onnx"'
    onnx.checker.check_model(answer.content, full_check=True)


def test_a_device_needs_a_decoder_and_the_runtime_alone(http: httpx.Client, tmp_path: Path) -> None:
    """The page's example, where nothing of Innerloop can be imported, answers as the service does."""
    [code] = [code for language, code in examples("cookbook.md") if "onnxruntime.InferenceSession" in code]
    file = "docs/drawings/loop-2.png"
    assert file in code
    model = adapt(http, drawn(4, 2, first=3080), meta_model="omniglot-maml")
    (tmp_path / "lines.onnx").write_bytes(export(http, model["id"], "onnx").content)
    (tmp_path / file).parent.mkdir(parents=True)
    ours = dict.fromkeys(("api", "adapter", "meta_models", "innerloop"))
    asked = """
for name in sys.argv[1:]:
    probabilities, rejected = session.run(["probabilities", "rejected"], {"pixels": decoded(name)})
    print(json.dumps([dict(zip(classes, probabilities[0].tolist())), bool(rejected[0])]))
"""
    program = f"import sys\nsys.modules.update({ours})\n{code}\n{asked}"
    turned = sketch(3082, 9, 500).rotate(90)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    layer = Image.new("RGBA", (140, 140), (0, 0, 90, 0))
    layer.putalpha(ImageOps.invert(sketch(3081, 9, 140)))
    light = Image.new("RGBA", (140, 140), (255, 255, 200, 0))
    light.putalpha(layer.getchannel("A"))
    pictures = {
        "grey": png(3080, 9, 300),
        "turned by EXIF": encoded(turned, exif=exif),
        "transparent": encoded(layer),
        "light on transparency": encoded(light),
        "large, light on transparency": encoded(light.resize((1400, 1400))),
        "grey in 16 bits": encoded(Image.fromarray(np.asarray(sketch(3082, 9, 1100)).astype(np.uint16) * 257)),
        "grey in 12 bits": encoded(Image.fromarray(np.asarray(sketch(3082, 9)).astype(np.uint16) * 16)),
        "grey in floats": encoded(Image.fromarray(np.asarray(sketch(3081, 9), np.float32) / 255 - 0.5), "TIFF"),
        "with a palette": encoded(ImageOps.colorize(sketch(3083, 9), "red", "yellow").quantize(7)),
        "large, white on black": encoded(sketch(3080, 8, 1500, paper=0, ink=255)),
        "unlike every class": png(3090, 9),
    }
    results = predict(http, model["id"], list(pictures.values()))
    (tmp_path / file).write_bytes(png(3080, 9))
    for name, data in pictures.items():
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-c", program, *pictures]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    answers = ran.stdout.splitlines()[-len(pictures) :]
    for name, answer, result in zip(pictures, answers, results, strict=True):
        here, rejected = json.loads(answer)
        assert here == pytest.approx(probabilities(result), abs=TOLERANCE), name
        assert rejected == result["rejected"], name


def test_a_blank_picture_is_rejected(http: httpx.Client) -> None:
    """Where the service would say `blank_image`, a graph can only reject."""
    model = adapt(http, drawn(3, 1, first=3090))
    http.patch(f"/v1/models/{model['id']}", json={"false_reject_rate": 0}).raise_for_status()
    exported = ExportedClassifier(export(http, model["id"], "onnx").content)
    answers, rejected = exported([np.full((30, 50, 3), 255, np.uint8), exported.read(png(3090, 5))])
    assert rejected.tolist() == [True, False]
    assert answers.sum(1) == pytest.approx([1, 1])
    with pytest.raises(UnreadableInput, match="no drawing found"):
        exported.read(blank())
    [served] = predict(http, model["id"], [blank()])
    assert served["error"]["code"] == "blank_image"


def test_a_grown_model_is_compared_on_its_own_support_set(http: httpx.Client) -> None:
    model = adapt(http, drawn(2, 2, first=3060))
    more = [("new", png(3070, shot)) for shot in range(3)]
    grown = http.post(
        f"/v1/models/{model['id']}/examples", json={"examples": support_of(more)}, headers={"Prefer": "wait=60"}
    )
    assert grown.status_code == 201, grown.text
    exported = ExportedClassifier(export(http, model["id"], "onnx").content)
    assert set(exported.classes) == {"class 0", "class 1", "new"}
    assert exported.about.parity is not None
    assert exported.about.parity.examples == 2 * 2 + 3


@pytest.mark.parametrize("meta_model", META_MODELS)
def test_the_bundle_answers_as_the_service(http: httpx.Client, meta_model: str) -> None:
    model = adapt(http, drawn(4, 2, first=3020), meta_model=meta_model)
    bundle = Bundle.load(export(http, model["id"], "safetensors").content)
    files = pictures(range(3020, 3024))
    inputs = np.stack([bundle.about.read(file) for file in files])
    here, _ = bundle.open()(inputs)
    for row, result in zip(here, predict(http, model["id"], files), strict=True):
        served = probabilities(result)
        assert row == pytest.approx([served[name] for name in bundle.about.classes], abs=TOLERANCE)
    assert bundle.about.model == model["id"]
    assert bundle.about.parity is not None
    published = Catalogue().resolve(bundle.about.meta_model)
    later = replace(published, manifest=published.manifest.model_copy(update={"version": 99}))
    with pytest.raises(NotAnExportError, match="adapted from another"):
        bundle.open(later)


def test_many_examples_are_compared_on_a_sample(http: httpx.Client) -> None:
    model = adapt(http, drawn(3, 100, first=3030), meta_model="omniglot-protonet")
    assert "examples=256" in export(http, model["id"], "onnx").headers["innerloop-parity"]


def test_the_same_model_gives_the_same_bytes(http: httpx.Client) -> None:
    model = adapt(http, drawn(2, 1, first=3040))["id"]
    assert export(http, model, "onnx").content == export(http, model, "onnx").content


def test_form_fields_do_as_well(http: httpx.Client) -> None:
    model = adapt(http, drawn(2, 1, first=3050))["id"]
    answer = http.post(f"/v1/models/{model}/exports", files={"format": (None, "safetensors")})
    assert answer.status_code == 200, answer.text
    assert Bundle.load(answer.content).about.model == model


def test_bad_requests(http: httpx.Client) -> None:
    model = adapt(http, drawn(2, 1, first=3060))["id"]
    assert_problem(http.post(f"/v1/models/{model}/exports", json={"format": "pickle"}), 422, "invalid_request")
    assert_problem(http.post(f"/v1/models/{model}/exports", files={"format": (None, "x")}), 422, "invalid_request")
    assert_problem(http.post(f"/v1/models/{model}/exports", files={"as": (None, "onnx")}), 422, "unknown_field")
    assert_problem(http.post(f"/v1/models/{model}/exports", content=b"onnx"), 415)
    assert_problem(http.post("/v1/models/mdl_none/exports", json={"format": "onnx"}), 404, "not_found")


def test_a_file_that_is_no_export_is_refused(http: httpx.Client, tmp_path: Path) -> None:
    model = adapt(http, drawn(2, 1, first=3070))["id"]
    with pytest.raises(NotAnExportError, match="not a safetensors file"):
        Bundle.load(export(http, model, "onnx").content)
    with pytest.raises(NotAnExportError, match="not an ONNX model"):
        ExportedClassifier(export(http, model, "safetensors").content)
    plain = onnx.load_model_from_string(export(http, model, "onnx").content)
    del plain.metadata_props[:]
    with pytest.raises(NotAnExportError, match="no export of Innerloop"):
        ExportedClassifier(plain.SerializeToString())
