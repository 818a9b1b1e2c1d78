"""Promise 6, nobody else's: another key's model does not exist."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapter.config import Settings
from api.auth import Keys
from innerloop.embedded import Embedded
from tests.drawings import inputs_json, support_json


def entry(owner: str, key: str) -> str:
    return f"{owner}:{hashlib.sha256(key.encode()).hexdigest()}"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with two owners."""
    keys = ",".join([entry("anna", "key-a"), entry("bert", "key-b")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INNERLOOP_API_KEYS", keys)
        folder: Path = tmp_path_factory.mktemp("guarded")
        with Embedded(Settings(port=0, data_dir=folder)) as running:
            yield running.url


def as_owner(url: str, key: str | None) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=60, headers={"Authorization": f"Bearer {key}"} if key else {})


def test_another_owners_model_is_not_found(guarded: str) -> None:
    with as_owner(guarded, "key-a") as anna, as_owner(guarded, "key-b") as bert:
        model = anna.post("/v1/models", json={"support": support_json(2, 1)}).json()
        path = f"/v1/models/{model['id']}"
        assert anna.get(path).status_code == 200
        refused = [
            bert.get(path),
            bert.delete(path),
            bert.post(f"{path}/predictions", json={"inputs": inputs_json([0])}),
            bert.post(f"{path}/evaluations", json={"queries": support_json(1, 1)}),
            bert.patch(path, json={"name": "mine"}),
            bert.post(f"{path}/cancel"),
            bert.get(f"{path}/events"),
            bert.get(f"{path}/versions"),
            bert.get(f"{path}/versions/1"),
            bert.get(f"{path}/examples"),
            bert.post(f"{path}/examples", json={"examples": support_json(1, 1)}),
            bert.delete(f"{path}/examples/ex_none"),
            bert.patch(f"{path}/classes/class 0", json={"name": "mine"}),
            bert.delete(f"{path}/classes/class 0"),
        ]
        absent = bert.get("/v1/models/mdl_absent")
        assert [r.status_code for r in refused] == [404] * len(refused)
        assert refused[0].json()["code"] == absent.json()["code"]
        assert bert.get("/v1/models").json()["data"] == []
        twin = bert.post("/v1/models", json={"support": support_json(2, 1)}).json()
        assert twin["id"] != model["id"]
        assert anna.get(path).status_code == 200


@pytest.mark.parametrize("key", [None, "wrong", ""])
def test_no_or_wrong_key(guarded: str, key: str | None) -> None:
    with as_owner(guarded, key) as stranger:
        for answer in (
            stranger.get("/v1/models"),
            stranger.get("/v1/meta-models"),
            stranger.post("/v1/models", json={}),
        ):
            assert answer.status_code == 401
            assert answer.json()["code"] == "unauthorized"
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert stranger.get("/healthz").status_code == 200


def test_public_address_without_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="without API keys"):
        Keys(Settings(host="0.0.0.0", api_keys=""))  # noqa: S104 - the refusal is the point


@pytest.mark.parametrize("text", ["anna", "anna:abc", "an/na:" + "0" * 64])
def test_malformed_keys_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="owner:sha256"):
        Keys(Settings(api_keys=text))
