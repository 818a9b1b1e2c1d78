"""Promise 2: the same support set and settings give the same digest and the same answers, in any order, at any time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter.config import Settings
from innerloop.embedded import Embedded
from tests.asking import META_MODELS, adapt, archive_of, drawn, in_folders, predict
from tests.drawings import png

VARIANTS = [
    {"meta_model": META_MODELS[0]},
    {"meta_model": META_MODELS[1]},
    {"meta_model": META_MODELS[1], "adaptation": {"inner_steps": 5, "inner_lr": 0.05}},
]


def test_servers_that_share_nothing_agree_in_any_order(http: httpx.Client, tmp_path: Path) -> None:
    """No cache helps here: the other server has never seen the content, and gets it in another order."""
    examples, queries = drawn(4, 3, first=2100), [png(2100 + i, 100) for i in range(6)]
    orders = [examples[::-1], examples[1::2] + examples[::2], examples[5:] + examples[:5]]
    here = [adapt(http, examples, **options) for options in VARIANTS]
    answers = [predict(http, model["id"], queries) for model in here]
    with Embedded(Settings(port=0, data_dir=tmp_path)) as other, httpx.Client(base_url=other.url, timeout=60) as there:
        for order, options, model, answer in zip(orders, VARIANTS, here, answers, strict=True):
            twin = adapt(there, order, **options)
            assert twin["id"] != model["id"]
            assert twin["digest"] == model["digest"]
            assert predict(there, twin["id"], queries) == answer


@pytest.mark.parametrize("options", VARIANTS, ids=["protonet", "maml", "maml, 5 steps"])
def test_deleted_and_adapted_again_answers_identically(http: httpx.Client, options: dict[str, Any]) -> None:
    examples, queries = drawn(4, 3, first=2105), [png(2105 + i, 100) for i in range(6)]
    first = adapt(http, examples, **options)
    answers = predict(http, first["id"], queries)
    for mixed in (examples, examples[::-1]):
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
