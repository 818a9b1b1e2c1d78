"""The client takes examples and classes out and renames classes; once, also where an answer is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from innerloop import AsyncClient, Client
from innerloop.client import errors, growth_flows
from innerloop.embedded import Embedded
from tests.asking import drawn
from tests.drawings import png

Removing = Callable[[Client, str], Any]


@pytest.fixture
def client(server: Embedded) -> Iterator[Client]:
    with Client(server.url) as made:
        yield made


@pytest.fixture
def other(server: Embedded) -> Iterator[Client]:
    """Somebody else's."""
    with Client(server.url) as made:
        yield made


def counted(version: dict[str, Any]) -> dict[str, int]:
    return {c["name"]: c["examples"] for c in version["classes"]}


def changing(request: httpx.Request) -> bool:
    return request.method in ("DELETE", "PATCH") and request.url.path.split("/")[4:5] in (["examples"], ["classes"])


def losing(client: Client, then: Callable[[], object] = lambda: None) -> list[int]:
    """The first answer to a change is lost, and something happens meanwhile; the statuses of all answers to it."""
    seen: list[int] = []

    def lose(answer: httpx.Response) -> None:
        if not changing(answer.request):
            return
        seen.append(answer.status_code)
        if len(seen) == 1:
            then()
            raise httpx.ReadError("lost on the way")

    client._http.event_hooks["response"].append(lose)
    return seen


def never_arriving(client: Client, then: Callable[[], object] = lambda: None) -> list[int]:
    """The first request of a change gets lost, and something happens meanwhile."""
    lost: list[int] = []

    def lose(request: httpx.Request) -> None:
        if changing(request) and not lost:
            lost.append(1)
            then()
            raise httpx.WriteError("lost on the way")

    client._http.event_hooks["request"].append(lose)
    return lost


def example_of(client: Client, model_id: str, label: str) -> str:
    return next(e["id"] for e in client.examples(model_id) if e["label"] == label)


def test_an_example_is_taken_out(client: Client) -> None:
    model = client.adapt(drawn(3, 2, first=8000))
    removed = client.remove_example(model["id"], example_of(client, model["id"], "class 1"))
    assert (removed["version"], removed["status"], removed["change"]["kind"]) == (2, "ready", "example_removed")
    assert counted(removed) == {"class 0": 2, "class 1": 1, "class 2": 2}
    last = example_of(client, model["id"], "class 1")
    removed = client.remove_example(model["id"], last, if_match=removed.etag)
    assert counted(removed) == {"class 0": 2, "class 2": 2}
    with pytest.raises(errors.NotFound, match=last):
        client.remove_example(model["id"], last)
    with pytest.raises(errors.PreconditionFailed):
        client.remove_example(model["id"], example_of(client, model["id"], "class 0"), if_match=model.etag)


def test_an_example_of_two_classes_is_taken_out_of_one(client: Client) -> None:
    both = png(8012, 0)
    model = client.adapt([*drawn(2, 1, first=8010), ("class 0", both), ("class 1", both)])
    ids = [e["id"] for e in client.examples(model["id"])]
    [twice] = {one for one in ids if ids.count(one) == 2}
    seen = losing(client)
    removed = client.remove_example(model["id"], twice, label="class 1")
    assert counted(removed) == {"class 0": 2, "class 1": 1}
    assert seen == [200, 412]
    assert counted(client.remove_example(model["id"], twice)) == {"class 0": 1, "class 1": 1}


def test_a_class_is_renamed_and_taken_out(client: Client) -> None:
    model = client.adapt([*drawn(2, 1, first=8020), (7, png(8025, 0))])
    renamed = client.rename_class(model["id"], np.int64(7), "up/../down?#%", if_match=model.etag)
    assert (renamed["change"]["kind"], renamed["status"]) == ("class_renamed", "ready")
    assert set(counted(renamed)) == {"class 0", "class 1", "up/../down?#%"}
    for old, new in (("up/../down?#%", "/"), ("/", "//x/"), ("//x/", "größer")):
        assert new in counted(client.rename_class(model["id"], old, new))
    assert client.rename_class(model["id"], "größer", "größer")["version"] == 5, "nothing to do"
    with pytest.raises(errors.Unprocessable, match="there is a class 'class 0' already"):
        client.rename_class(model["id"], "größer", "class 0")
    removed = client.remove_class(model["id"], "größer")
    assert counted(removed) == {"class 0": 1, "class 1": 1}
    with pytest.raises(errors.TooFewClasses):
        client.remove_class(model["id"], "class 1")
    with pytest.raises(errors.NotFound, match="no class 'größer'"):
        client.remove_class(model["id"], "größer")
    for bad in ("", ".", ".."):
        with pytest.raises(ValueError, match="is no name of a class"):
            client.remove_class(model["id"], bad)
    with pytest.raises(TypeError):
        client.remove_class(model["id"], None)  # pyright: ignore[reportArgumentType]
    assert client.model(model["id"])["latest_version"] == 6


def test_what_is_not_waited_for_is_followed(client: Client) -> None:
    model = client.adapt(drawn(3, 1, first=8030), meta_model="omniglot-maml")
    seen = losing(client)
    removed = client.remove_class(model["id"], "class 2", wait=None)
    assert (seen[1:], removed["version"]) == ([412], 2)
    assert [e["status"] for e in client.follow(model["id"]) if e["event"] == "status"][-1] == "ready"
    assert client.update(model["id"], stable=2, if_match=removed.etag)["stable_version"] == 2


@pytest.mark.parametrize("version", [None, "latest"])
@pytest.mark.parametrize("call", ["predict", "predict_vectors", "evaluate"])
def test_a_version_that_arrives_between_batches_gives_no_answer(
    client: Client, other: Client, call: str, version: Any
) -> None:
    model_id = client.adapt_vectors(9 * np.eye(2).repeat(3, 0), [*"aaabbb"])["id"]
    asked: list[int] = []

    def rename(answer: httpx.Response) -> None:
        asked.append(answer.status_code)
        if len(asked) == 1:
            other.rename_class(model_id, "a", "z")

    client._http.event_hooks["response"].append(rename)
    rows = [np.array([9.0, 0.0])] * 4
    if call == "evaluate":
        report = client.evaluate(model_id, [("a", row) for row in rows], batch=2, version=version)
        assert (report["version"], report["n"], report["accuracy"]) == (1, 4, 1.0)
    elif call == "predict":
        results = client.predict(model_id, rows, batch=2, version=version)
        assert [r["scores"][0]["label"] for r in results] == [*"aaaa"]
    else:
        answers = client.predict_vectors(model_id, rows, batch=2, version=version)
        assert [str(answers.classes[i]) for i in answers.probabilities.argmax(1)] == [*"aaaa"]
    assert asked == [200, 200]


CHANGES: dict[str, tuple[Removing, dict[str, int]]] = {
    "example": (
        lambda client, model_id: client.remove_example(model_id, example_of(client, model_id, "class 0")),
        {"class 0": 1, "class 1": 2, "class 2": 2},
    ),
    "class": (lambda client, model_id: client.remove_class(model_id, "class 0"), {"class 1": 2, "class 2": 2}),
    "name": (
        lambda client, model_id: client.rename_class(model_id, "class 0", "first"),
        {"class 1": 2, "class 2": 2, "first": 2},
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_lost_answer_changes_nothing_twice(client: Client, other: Client, what: str) -> None:
    """Also where somebody put back what was taken before the request comes again."""
    change, after = CHANGES[what]
    model = client.adapt(drawn(3, 2, first=8040))
    seen = losing(client, lambda: other.add_examples(model["id"], drawn(1, 2, first=8040)))
    made = change(client, model["id"])
    assert seen == [200, 412]
    assert (made["version"], counted(made)) == (2, after)
    with pytest.raises(ValueError, match="without an ETag"):
        _ = made.etag
    newest = client.model(model["id"])
    assert newest["version"] == 3
    assert counted(newest)["class 0"] == 2, "what was put back stays"


@pytest.mark.parametrize("what", CHANGES)
def test_a_lost_answer_leaves_the_state(client: Client, what: str) -> None:
    change, after = CHANGES[what]
    model = client.adapt(drawn(3, 2, first=8050))
    seen = losing(client)
    made = change(client, model["id"])
    assert (seen, counted(made), made["status"]) == ([200, 412], after, "ready")
    assert client.update(model["id"], name="as it was left", if_match=made.etag)["latest_version"] == 2


@pytest.mark.parametrize("what", CHANGES)
def test_a_request_that_never_came_is_no_change_of_others(client: Client, other: Client, what: str) -> None:
    """Somebody else's change meanwhile is not taken for one's own, however alike, and the own one is made after it."""
    change, after = CHANGES[what]
    model = client.adapt([*drawn(3, 2, first=8060), ("others", png(8069, 0)), ("others", png(8069, 1))])

    def meanwhile() -> None:
        if what == "name":
            other.rename_class(model["id"], "others", "their")
        elif what == "class":
            other.remove_class(model["id"], "others")
        else:
            other.remove_example(model["id"], example_of(other, model["id"], "others"))

    lost = never_arriving(client, meanwhile)
    made = change(client, model["id"])
    assert (lost, made["version"], made["change"]["base"]) == ([1], 3, 2)
    assert counted(made).items() >= after.items()
    assert counted(made).get("others") == {"name": None, "class": None, "example": 1}[what]


def test_a_state_that_others_changed_is_not_the_one_that_was_meant(client: Client, other: Client) -> None:
    model = client.adapt(drawn(3, 2, first=8070))
    never_arriving(client, lambda: other.update(model["id"], name="theirs"))
    with pytest.raises(errors.PreconditionFailed) as refused:
        client.remove_class(model["id"], "class 0", if_match=model.etag)
    assert refused.value.attempts == 2
    assert client.model(model["id"])["latest_version"] == 1
    with pytest.raises(errors.PreconditionFailed) as refused:
        client.remove_class(model["id"], "class 0", if_match=model.etag)
    assert refused.value.attempts == 1


def test_what_is_missing_at_the_second_try_was_never_there(client: Client) -> None:
    model = client.adapt(drawn(2, 2, first=8080))
    never_arriving(client)
    with pytest.raises(errors.NotFound, match="no class 'strange'"):
        client.remove_class(model["id"], "strange")
    never_arriving(client)
    with pytest.raises(errors.NotFound, match="no example 'ex_none'"):
        client.remove_example(model["id"], "ex_none")


def test_changes_of_others_all_the_time_are_told(client: Client, other: Client) -> None:
    model = client.adapt(drawn(3, 1, first=8090))
    names: list[str] = []

    def busy(request: httpx.Request) -> None:
        if changing(request):
            names.append(other.update(model["id"], name=f"name {len(names)}")["name"])

    client._http.event_hooks["request"].append(busy)
    with pytest.raises(errors.PreconditionFailed):
        client.remove_class(model["id"], "class 0")
    assert len(names) == growth_flows.TRIES
    assert client.model(model["id"])["latest_version"] == 1


def test_a_model_that_is_gone_meanwhile_is_not_found(client: Client, other: Client) -> None:
    model = client.adapt(drawn(3, 1, first=8095))
    losing(client, lambda: other.delete(model["id"]))
    with pytest.raises(errors.NotFound):
        client.remove_class(model["id"], "class 0")


def test_the_same_awaited(server: Embedded) -> None:
    async def job() -> None:
        async with AsyncClient(server.url) as client:
            seen: list[int] = []

            async def lose(answer: httpx.Response) -> None:
                if changing(answer.request):
                    seen.append(answer.status_code)
                    if len(seen) % 2:
                        raise httpx.ReadError("lost on the way")

            client._http.event_hooks["response"].append(lose)
            model = await client.adapt(drawn(3, 2, first=8100))
            [first, *_] = await client.examples(model["id"])
            removed = await client.remove_example(model["id"], first["id"], if_match=model.etag)
            renamed = await client.rename_class(model["id"], "class 1", "second", if_match=removed.etag)
            removed = await client.remove_class(model["id"], "class 2", if_match=renamed.etag)
            assert seen == [200, 412] * 3
            assert (removed["version"], counted(removed)) == (4, {"class 0": 1, "second": 2})

    asyncio.run(job())
