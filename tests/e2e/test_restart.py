"""A server stopped and started again on the same data folder goes on as if nothing had been."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx

from adapter.config import Settings
from innerloop.embedded import Embedded
from meta_models.catalogue import ZOO
from meta_models.manifest import MANIFEST_FILE
from tests.asking import adapt, drawn, measured, predict, support_of
from tests.drawings import b64, png


def test_models_outlive_a_restart(tmp_path: Path) -> None:
    examples = drawn(3, 2, first=3000)
    queries = [png(3000 + i, 100) for i in range(4)]
    variants = [
        {"meta_model": "omniglot-protonet", "name": "first"},
        {"meta_model": "omniglot-maml", "name": "second"},
        {"meta_model": "omniglot-maml", "name": "third", "adaptation": {"inner_steps": 3}},
    ]
    key = {"Idempotency-Key": "before and after"}
    keyed = {"support": support_of(drawn(2, 1, first=3010))}

    with Embedded(Settings(port=0, data_dir=tmp_path)) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        models = [adapt(http, examples, **options) for options in variants]
        answers = [predict(http, model["id"], queries) for model in models]
        gone = adapt(http, drawn(2, 1, first=3020))
        assert http.delete(f"/v1/models/{gone['id']}").status_code == 204
        with_key = measured(http, http.post("/v1/models", json=keyed, headers=key).json())
        listed = http.get("/v1/models").json()
        assert [m["id"] for m in listed["data"]] == [with_key["id"], *(m["id"] for m in reversed(models))]
        assert (listed["has_more"], listed["next_cursor"]) == (False, None)
        full_page = http.get("/v1/models", params={"limit": 4}).json()
        assert full_page == listed, "a page that ends with the last model has no next one"

    with Embedded(Settings(port=0, data_dir=tmp_path)) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        assert http.get("/v1/models").json() == listed
        assert [http.get(f"/v1/models/{model['id']}").json() for model in models] == models
        # The embedded weights are a cache that starts empty: these answers come from re-adapted tensors.
        assert [predict(http, model["id"], queries) for model in models] == answers
        assert [http.get(f"/v1/models/{model['id']}").json()["id"] for model in models] == [m["id"] for m in models]
        assert http.get(f"/v1/models/{gone['id']}").status_code == 404
        # Neither keys nor contents are forgotten.
        assert adapt(http, examples[::-1], **variants[0])["id"] == models[0]["id"]
        assert http.post("/v1/models", json=keyed, headers=key).json()["id"] == with_key["id"]
        clash = http.post("/v1/models", json={"support": support_of(examples)}, headers=key)
        assert clash.status_code == 409
        assert len(http.get("/v1/models").json()["data"]) == 4


def test_a_model_of_a_meta_model_that_is_gone_says_so(tmp_path: Path) -> None:
    own = tmp_path / "zoo" / "mine"
    shutil.copytree(ZOO / "omniglot-protonet", own)
    settings = Settings(port=0, data_dir=tmp_path / "data", meta_models_dir=tmp_path / "zoo")

    def publish(version: int) -> None:
        manifest = json.loads((own / MANIFEST_FILE).read_text())
        (own / MANIFEST_FILE).write_text(json.dumps({**manifest, "name": "mine", "version": version}))

    examples, query = drawn(2, 1, first=3030), png(3030, 100)
    publish(1)
    with Embedded(settings) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        model = adapt(http, examples, meta_model="mine")
        answer = predict(http, model["id"], [query])
    publish(2)
    with Embedded(settings) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        assert http.get(f"/v1/models/{model['id']}").json()["meta_model"] == "mine@1"
        asked = {"inputs": [{"image": b64(query)}]}
        added = {"examples": support_of(drawn(1, 1, first=3035))}
        refusals = [
            http.post(f"/v1/models/{model['id']}/{path}", json=body)
            for path, body in (("predictions", asked), ("exports", {"format": "onnx"}), ("examples", added))
        ]
        [example, _] = http.get(f"/v1/models/{model['id']}/examples").json()["data"]
        rate = http.patch(f"/v1/models/{model['id']}", json={"false_reject_rate": 0.1})
        for refused in (*refusals, rate, http.get(example["preview"])):
            assert (refused.status_code, refused.json()["code"]) == (409, "meta_model_gone")
            assert "mine@1" in refused.json()["detail"]
        again = adapt(http, examples, meta_model="mine")
        assert again["id"] != model["id"]
        assert predict(http, again["id"], [query]) == answer


def test_a_folder_that_is_replaced_in_place_never_answers_with_half_of_each(tmp_path: Path) -> None:
    """The same name and version, other files: refused until all begin anew, then all of it is what is there."""
    own, other = tmp_path / "zoo" / "mine", "omniglot-protonet-vinyals"
    settings = Settings(port=0, data_dir=tmp_path / "data", meta_models_dir=tmp_path / "zoo")

    def publish(source: str) -> None:
        shutil.copytree(ZOO / source, own, dirs_exist_ok=True)
        manifest = json.loads((own / MANIFEST_FILE).read_text())
        (own / MANIFEST_FILE).write_text(json.dumps({**manifest, "name": "mine", "version": 1}))

    examples, query = drawn(2, 1, first=3040), png(3040, 100)
    publish("omniglot-protonet")
    with Embedded(settings) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        model = adapt(http, examples, meta_model="mine")
        publish(other)
        refused = http.post(f"/v1/models/{model['id']}/predictions", json={"inputs": [{"image": b64(query)}]})
        assert (refused.status_code, refused.json()["code"]) == (409, "meta_model_gone")
        assert "restart" in refused.json()["detail"]
    with Embedded(settings) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        wanted = predict(http, adapt(http, examples, meta_model=other)["id"], [query])
        assert predict(http, model["id"], [query]) == wanted
