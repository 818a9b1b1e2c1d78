"""The client changes models that are there: name, life, stable version; conditionally; and lists their versions."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator

import numpy as np
import pytest

from innerloop import AsyncClient, Client
from innerloop.client import ModelState, errors
from innerloop.client.steps import matching
from innerloop.embedded import Embedded
from tests.asking import drawn
from tests.drawings import png


@pytest.fixture
def client(server: Embedded) -> Iterator[Client]:
    with Client(server.url) as made:
        yield made


def test_a_field_that_is_left_out_stays(client: Client) -> None:
    model = client.adapt(drawn(2, 1, first=5300), name="letters")
    changed = client.update(model["id"], ttl_seconds=np.int64(3600))
    assert (changed["name"], changed["status"]) == ("letters", "ready")
    assert changed["expires_at"] < model["expires_at"]
    assert client.update(model["id"], name="letters, checked")["expires_at"] == changed["expires_at"]
    assert client.update(model["id"], false_reject_rate=0.0)["false_reject_rate"] == 0
    defaults = client.update(model["id"], name=None, ttl_seconds=None, false_reject_rate=None)
    assert (defaults["name"], defaults["false_reject_rate"]) == (client.update(model["id"])["name"], None)
    assert defaults["expires_at"] > changed["expires_at"]
    with pytest.raises(errors.Unprocessable, match="versions 1 to 1, not 2"):
        client.update(model["id"], stable=2)


def test_versions_are_listed_and_one_is_chosen(client: Client) -> None:
    model = client.adapt(drawn(2, 2, first=5310))
    added = client.add_examples(model["id"], [("new", png(5350, shot)) for shot in range(2)])
    client.quality(model["id"])
    newest, first = client.versions(model["id"])
    assert (newest["version"], newest["status"], newest["change"]["kind"]) == (2, "ready", "examples_added")
    assert (first["version"], first["stable"], first["change"]) == (1, True, None)
    compared = client.version(model["id"], 2)
    assert compared["change"]["old_examples"]["n"] == 4
    assert {c["name"] for c in compared["classes"]} == {"class 0", "class 1", "new"}

    def classes_of(version: str) -> set[str]:
        [answer] = client.predict(model["id"], [png(5350, 9)], version=version)
        return {score["label"] for score in answer["scores"]}

    assert "new" not in classes_of("stable")
    assert client.update(model["id"], stable=added["version"])["stable_version"] == 2
    assert "new" in classes_of("stable")
    with pytest.raises(errors.NotFound):
        client.version(model["id"], 3)
    with pytest.raises(TypeError):
        client.version(model["id"], "2")  # pyright: ignore[reportArgumentType]


def test_a_change_is_meant_for_a_state(client: Client) -> None:
    model = client.adapt(drawn(2, 1, first=5320))
    read = client.model(model["id"])
    changed = client.update(model["id"], name="first", if_match=read.etag)
    for late in (
        lambda: client.update(model["id"], name="second", if_match=read.etag),
        lambda: client.add_examples(model["id"], [("new", png(5321, 0))], if_match=read.etag),
        lambda: client.delete(model["id"], if_match=read.etag),
    ):
        with pytest.raises(errors.PreconditionFailed):
            late()
    assert client.model(model["id"])["name"] == "first"
    added = client.add_examples(model["id"], [("new", png(5321, 0))], if_match=changed.etag)
    chosen = client.update(model["id"], stable=added["version"], if_match=added.etag)
    client.delete(model["id"], if_match=chosen.etag)
    with pytest.raises(errors.NotFound):
        client.model(model["id"])


def test_what_was_accepted_and_followed_has_an_etag_too(client: Client) -> None:
    model = client.adapt(drawn(2, 1, first=5330), meta_model="omniglot-maml", wait=None)
    assert model["status"] in ("queued", "adapting", "ready")
    assert client.quality(model["id"], wait=30)
    renamed = client.update(model["id"], name="still the same", if_match=model.etag)
    added = client.add_examples(model["id"], [("new", png(5331, 0))], if_match=renamed.etag, wait=None)
    assert [e["status"] for e in client.follow(model["id"]) if e["event"] == "status"][-1] == "ready"
    assert client.update(model["id"], stable=2, if_match=added.etag)["stable_version"] == 2


def test_the_same_awaited(server: Embedded) -> None:
    async def job() -> None:
        async with AsyncClient(server.url) as client:
            model = await client.adapt(drawn(2, 1, first=5340))
            changed = await client.update(model["id"], name="renamed", if_match=model.etag)
            assert changed["name"] == "renamed"
            with pytest.raises(errors.PreconditionFailed):
                await client.delete(model["id"], if_match=model.etag)
            assert [v["version"] for v in await client.versions(model["id"])] == [1]
            assert (await client.version(model["id"], 1))["status"] == "ready"
            await client.delete(model["id"], if_match=changed.etag)

    asyncio.run(job())


def test_a_state_is_a_dictionary(client: Client) -> None:
    state = client.adapt(drawn(2, 1, first=5300))
    assert json.loads(json.dumps(state)) == state == dict(state)
    assert copy.copy(state).etag == copy.deepcopy(state).etag == state.etag
    with pytest.raises(ValueError, match="came without an ETag"):
        _ = ModelState(state).etag


def test_what_is_no_etag_is_never_taken_for_no_condition() -> None:
    assert matching(None) == {}
    for given, kind in (("", ValueError), ("ü", ValueError), ("a\r\nb: c", ValueError), ({"id": "mdl_1"}, TypeError)):
        with pytest.raises(kind):
            matching(given)  # pyright: ignore[reportArgumentType]
