"""Promise 2: the same support set and settings give the same digest and the same answers, in any order, at any time."""

from __future__ import annotations

import httpx
import pytest

from tests.asking import META_MODELS, adapt, archive_of, drawn, in_folders, predict
from tests.drawings import png


@pytest.mark.parametrize(
    ("meta_model", "adaptation"),
    [(META_MODELS[0], {}), (META_MODELS[1], {}), (META_MODELS[1], {"inner_steps": 5, "inner_lr": 0.05})],
)
def test_deleted_and_adapted_again_answers_identically(
    http: httpx.Client, meta_model: str, adaptation: dict[str, float]
) -> None:
    examples, queries = drawn(4, 3, first=2100), [png(2100 + i, 100) for i in range(6)]
    options = {"meta_model": meta_model, "adaptation": adaptation}
    first = adapt(http, examples, **options)
    answers = predict(http, first["id"], queries)
    for mixed in (examples, examples[::-1], examples[1::2] + examples[::2]):
        assert http.delete(f"/v1/models/{first['id']}").status_code == 204
        again = adapt(http, mixed, **options)
        assert again["id"] != first["id"]
        assert again["digest"] == first["digest"]
        assert predict(http, again["id"], queries) == answers
        first = again


def test_file_names_are_not_content(http: httpx.Client) -> None:
    examples = drawn(2, 2, first=2110)
    renamed = {path.replace(".png", " (copy).png"): data for path, data in in_folders(examples[::-1]).items()}
    by_archive = http.post("/v1/models", files=archive_of(renamed))
    assert by_archive.status_code == 201, by_archive.text
    assert by_archive.json()["digest"] == adapt(http, examples)["digest"]


def test_defaults_left_out_or_spelled_out_are_the_same(http: httpx.Client) -> None:
    examples = drawn(2, 2, first=2120)
    default = http.get("/v1/meta-models/omniglot-maml").json()["inner_loop"]
    spelled = {k: default[k] for k in ("inner_steps", "inner_lr")}
    models = [
        adapt(http, examples, meta_model="omniglot-maml", adaptation=adaptation)
        for adaptation in ({}, {"inner_steps": None}, spelled)
    ]
    assert len({m["digest"] for m in models}) == 1


def test_asking_twice_gives_the_same_bytes(http: httpx.Client) -> None:
    model = adapt(http, drawn(3, 1, first=2130))
    queries = [png(2130 + i, 100) for i in range(3)]
    assert predict(http, model["id"], queries) == predict(http, model["id"], queries)
