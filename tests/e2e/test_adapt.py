"""Adapting through HTTP: every way to send a support set, every option, every shape of it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.asking import (
    META_MODELS,
    adapt,
    archive_of,
    assert_problem,
    best,
    drawn,
    in_folders,
    parts_of,
    predict,
    settled,
    support_of,
)
from tests.drawings import png

FIELDS = {
    "id", "object", "status", "version", "name", "meta_model", "modality", "digest", "classes", "quality",
    "timings_ms", "created_at", "expires_at", "error",
}  # fmt: skip


def test_ready_model_has_the_shape_of_the_contract(http: httpx.Client) -> None:
    body = {
        "meta_model": "omniglot-maml",
        "name": "letters",
        "support": support_of(drawn(3, 2, first=1000)),
        "adaptation": {"inner_steps": None, "inner_lr": None},
        "ttl_seconds": 604800,
    }
    answer = http.post("/v1/models", json=body, headers={"Prefer": "wait=60"})
    assert answer.status_code == 201, answer.text
    model = answer.json()
    assert set(model) >= FIELDS
    assert re.fullmatch(r"mdl_[0-9A-Za-z_-]{20,}", model["id"])
    assert answer.headers["location"] == f"/v1/models/{model['id']}"
    assert (model["object"], model["status"], model["version"]) == ("model", "ready", 1)
    assert (model["name"], model["meta_model"], model["modality"]) == ("letters", "omniglot-maml@2", "image")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", model["digest"])
    assert model["classes"] == [{"name": f"class {i}", "examples": 2} for i in range(3)]
    assert model["error"] is None
    timings = model["timings_ms"]
    assert set(timings) == {"queue", "adapt", "total"}
    assert 0 <= timings["adapt"] <= timings["total"]
    created, expires = (datetime.fromisoformat(model[k]) for k in ("created_at", "expires_at"))
    assert created.tzinfo is not None
    assert (expires - created).total_seconds() == pytest.approx(604800, abs=5)
    later = http.get(answer.headers["location"]).json()  # where every weight is adapted, quality comes after `ready`
    assert {**later, "quality": None} == {**model, "quality": None}


def test_json_multipart_and_archive_make_the_same_model(http: httpx.Client) -> None:
    examples = drawn(3, 2, first=1010)
    answers = [
        http.post("/v1/models", json={"support": support_of(examples), "name": "same"}),
        http.post("/v1/models", files=parts_of(examples), data={"name": "same"}),
        http.post("/v1/models", files=archive_of(in_folders(examples)), data={"name": "same"}),
    ]
    assert [a.status_code for a in answers] == [201] * 3, [a.text for a in answers]
    models = [a.json() for a in answers]
    assert len({m["digest"] for m in models}) == 1
    assert len({m["id"] for m in models}) == 1
    assert [m["name"] for m in models] == ["same"] * 3


def test_form_fields_carry_every_option(http: httpx.Client) -> None:
    examples = drawn(2, 1, first=1020)
    options = {"meta_model": "omniglot-maml", "name": "form", "ttl_seconds": 3600, "adaptation": {"inner_steps": 2}}
    by_json = adapt(http, examples, **options)
    http.delete(f"/v1/models/{by_json['id']}")
    fields = {"meta_model": "omniglot-maml", "name": "form", "ttl_seconds": "3600", "adaptation": '{"inner_steps": 2}'}
    answer = http.post("/v1/models", files=parts_of(examples), data=fields)
    assert answer.status_code == 201, answer.text
    by_form = answer.json()
    for field in ("digest", "name", "meta_model", "classes"):
        assert by_form[field] == by_json[field]
    lives = datetime.fromisoformat(by_form["expires_at"]) - datetime.fromisoformat(by_form["created_at"])
    assert lives.total_seconds() == pytest.approx(3600, abs=5)


def test_archives_as_file_managers_make_them(http: httpx.Client) -> None:
    """One folder around the class folders, and what operating systems leave behind, change nothing."""
    examples = drawn(2, 2, first=1025)
    plain = adapt(http, examples)
    files = {f"letters/{path}": data for path, data in in_folders(examples).items()}
    files |= {"letters/.DS_Store": b"Bud1", "__MACOSX/letters/class 0/._0.png": b"\x00\x05\x16\x07", "letters/": b""}
    files |= {"letters/class 0/Thumbs.db": b"\xd0\xcf\x11\xe0", "letters/class 1/desktop.ini": b"[.ShellClassInfo]"}
    answer = http.post("/v1/models", files=archive_of(files))
    assert answer.status_code == 201, answer.text
    assert answer.json()["digest"] == plain["digest"]


def test_respond_async_then_ask_until_ready(http: httpx.Client) -> None:
    body = {"support": support_of(drawn(3, 1, first=1030)), "name": "later"}
    answer = http.post("/v1/models", json=body, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    assert int(answer.headers["retry-after"]) >= 0
    model = answer.json()
    assert set(model) >= FIELDS
    assert answer.headers["location"] == f"/v1/models/{model['id']}"
    assert model["status"] in {"queued", "adapting", "ready"}
    now = settled(http, answer.headers["location"])
    assert now["status"] == "ready"
    assert {k: now[k] for k in ("id", "digest", "name")} == {k: model[k] for k in ("id", "digest", "name")}
    assert best(predict(http, model["id"], [png(1031, 100)])) == ["class 1"]


@pytest.mark.parametrize("meta_model", META_MODELS)
@pytest.mark.parametrize(
    ("shots", "first"),
    [
        pytest.param([1, 1], 1040, id="two classes, one example each"),
        pytest.param([7, 1, 3, 2], 1050, id="unbalanced"),
        pytest.param([200, 1], 1060, id="200 in one class, 1 in another"),
        pytest.param([1] * 60, 1100, id="60 classes"),
        pytest.param([1] * 100, 1200, id="100 classes"),
    ],
)
def test_any_shape_is_answered_rightly(http: httpx.Client, meta_model: str, shots: list[int], first: int) -> None:
    examples = [(f"c{way:02}", png(first + way, i)) for way, n_shot in enumerate(shots) for i in range(n_shot)]
    model = adapt(http, examples, meta_model=meta_model)
    assert model["classes"] == [{"name": f"c{way:02}", "examples": n} for way, n in enumerate(shots)]
    # Each class's own examples: any sane adapted model knows them, whatever the shape.
    asked = range(0, len(shots), max(1, len(shots) // 10))
    own = predict(http, model["id"], [png(first + way, 0) for way in asked])
    assert best(own) == [f"c{way:02}" for way in asked]
    assert all(len(r["scores"]) == len(shots) for r in own)
    if len(shots) < 10:
        unseen = predict(http, model["id"], [png(first + way, 300) for way in range(len(shots))])
        assert best(unseen) == [f"c{way:02}" for way in range(len(shots))]


def test_meta_model_by_name_by_version_by_alias_or_left_out(http: httpx.Client) -> None:
    published = {m["name"]: m for m in http.get("/v1/meta-models").json()["data"]}
    assert set(META_MODELS) <= set(published)
    alias = next(m["reference"] for m in published.values() if "drawing" in m["aliases"])
    examples = drawn(2, 1, first=1070)
    asked: dict[str, dict[str, Any]] = {
        f"{name}@{published[name]['version']}": {"meta_model": name} for name in META_MODELS
    }
    for reference, options in asked.items():
        assert adapt(http, examples, **options)["meta_model"] == reference
        assert adapt(http, examples, meta_model=reference)["meta_model"] == reference
    assert adapt(http, examples, meta_model="drawing")["meta_model"] == alias
    assert adapt(http, examples)["meta_model"] == alias


def test_digest_names_meta_model_settings_labels_and_examples(http: httpx.Client) -> None:
    examples = drawn(2, 2, first=1080)
    variants = [
        adapt(http, examples, meta_model="omniglot-maml"),
        adapt(http, examples, meta_model="omniglot-protonet"),
        adapt(http, examples, meta_model="omniglot-maml", adaptation={"inner_steps": 3}),
        adapt(http, examples, meta_model="omniglot-maml", adaptation={"inner_steps": 3, "inner_lr": 0.02}),
        adapt(http, examples[:-1], meta_model="omniglot-maml"),
        adapt(http, [(label.upper(), data) for label, data in examples], meta_model="omniglot-maml"),
    ]
    assert len({m["digest"] for m in variants}) == len(variants)
    assert len({m["id"] for m in variants}) == len(variants)


def test_inner_loop_settings_are_used(http: httpx.Client) -> None:
    examples, query = drawn(3, 2, first=1090), [png(1090, 100)]
    asked = {"inner_steps": 5, "inner_lr": 0.05}
    stepped = adapt(http, examples, meta_model="omniglot-maml", adaptation=asked)
    still = adapt(http, examples, meta_model="omniglot-maml", adaptation={"inner_steps": 0})
    assert predict(http, stepped["id"], query)[0]["scores"] != predict(http, still["id"], query)[0]["scores"]


def test_inner_loop_settings_are_refused_where_there_is_no_inner_loop(http: httpx.Client) -> None:
    body = {"support": support_of(drawn(2, 1, first=1095)), "meta_model": "omniglot-protonet"}
    problem = assert_problem(http.post("/v1/models", json={**body, "adaptation": {"inner_steps": 5}}), 422)
    assert "omniglot-protonet" in problem["detail"]
    allowed = {**body, "adaptation": {"inner_steps": None, "inner_lr": None}}
    assert http.post("/v1/models", json=allowed).status_code == 201


def test_names_are_for_people(http: httpx.Client) -> None:
    """Two models may share a name; a name may be left out, and may be in any script."""
    models = [adapt(http, drawn(2, 1, first=first), name="буквы 字") for first in (1096, 1098)]
    assert [m["name"] for m in models] == ["буквы 字"] * 2
    assert models[0]["id"] != models[1]["id"]
    assert adapt(http, drawn(2, 1, first=1097))["name"] is None


def test_labels_in_any_script_come_back_as_sent(http: httpx.Client) -> None:
    labels = ["か", "Ж ж", "a/b", 'quote " and \\', "x" * 200]
    examples = [(label, png(1400 + i, 0)) for i, label in enumerate(labels)]
    model = adapt(http, examples)
    assert {c["name"] for c in model["classes"]} == set(labels)
    assert best(predict(http, model["id"], [data for _, data in examples])) == labels
    by_form = http.post("/v1/models", files=parts_of(examples[:3]))
    assert by_form.status_code == 201, by_form.text
    assert {c["name"] for c in by_form.json()["classes"]} == set(labels[:3])
