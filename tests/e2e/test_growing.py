"""Models that grow: every change is a new version, nothing is lost, and old versions stay as they were."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import redis

from innerloop.embedded import Embedded, records_url
from tests.asking import (
    META_MODELS,
    Labelled,
    adapt,
    archive_of,
    assert_problem,
    best,
    drawn,
    in_folders,
    predict,
    settled,
    support_of,
)
from tests.drawings import inputs_json, png
from tests.faults.victim import asleep, until

PROTONET = "omniglot-protonet"
"""Its quality comes with `ready`."""

WAIT = {"Prefer": "wait=60"}


def add(http: httpx.Client, path: str, examples: Iterable[Labelled], **headers: str) -> httpx.Response:
    body = {"examples": support_of(examples)}
    return http.post(
        f"{path}/examples", json=body, headers={**WAIT, **{k.replace("_", "-"): v for k, v in headers.items()}}
    )


def made(answer: httpx.Response, status: int = 201) -> dict[str, Any]:
    """The version that a change made."""
    assert answer.status_code == status, answer.text
    version: dict[str, Any] = answer.json()
    assert version["status"] == "ready"
    assert answer.headers["location"] == f"/v1/models/{version['model']}/versions/{version['version']}"
    return version


def ask(http: httpx.Client, path: str, kinds: list[int], **params: str) -> dict[str, Any]:
    answer = http.post(f"{path}/predictions", json={"inputs": inputs_json(kinds), "top_k": 100}, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def names(version: dict[str, Any]) -> list[str]:
    return [c["name"] for c in version["classes"]]


@pytest.mark.parametrize("meta_model", META_MODELS)
def test_an_added_class_is_known_at_once_and_old_versions_stay(http: httpx.Client, meta_model: str) -> None:
    model = adapt(http, drawn(3, 3, first=4000), meta_model=meta_model)
    path = f"/v1/models/{model['id']}"
    before = ask(http, path, [4000, 4001, 4002])
    version = made(add(http, path, [("new", png(4003, i)) for i in range(3)]))
    assert (version["version"], version["change"]["kind"], version["change"]["base"]) == (2, "examples_added", 1)
    assert (version["change"]["added"], version["change"]["removed"]) == (3, 0)
    assert names(version) == ["class 0", "class 1", "class 2", "new"]
    assert version["digest"] != model["digest"]
    now = ask(http, path, [4003])
    assert (now["version"], now["results"][0]["scores"][0]["label"]) == (2, "new")
    assert ask(http, path, [4000, 4001, 4002], version="1") == before
    assert ask(http, path, [4000], version="stable")["version"] == 1
    assert http.get(f"{path}/versions/1").json()["digest"] == model["digest"]
    shown = http.get(path).json()
    assert (shown["version"], shown["latest_version"], shown["stable_version"]) == (2, 2, 1)


@pytest.mark.parametrize("meta_model", META_MODELS)
def test_a_grown_model_equals_one_adapted_from_the_start(http: httpx.Client, meta_model: str) -> None:
    examples = drawn(4, 2, first=4010)
    path = f"/v1/models/{adapt(http, examples[:5], meta_model=meta_model)['id']}"
    version = made(add(http, path, examples[5:]))
    whole = adapt(http, examples, meta_model=meta_model)
    assert version["digest"] == whole["digest"]
    assert ask(http, path, [4010, 4013])["results"] == ask(http, f"/v1/models/{whole['id']}", [4010, 4013])["results"]


def test_the_answer_says_how_the_old_classes_fare(http: httpx.Client) -> None:
    path = f"/v1/models/{adapt(http, drawn(3, 4, first=4020), meta_model=PROTONET)['id']}"
    version = made(add(http, path, [("new", png(4023, i)) for i in range(4)]))
    compared = version["change"]["old_examples"]
    assert compared["n"] == 12
    assert [c["name"] for c in compared["per_class"]] == ["class 0", "class 1", "class 2"]
    assert compared["difference"] == pytest.approx(compared["after"] - compared["before"])
    assert compared["ci95"][0] <= compared["difference"] <= compared["ci95"][1]
    assert compared["verdict"] == "the old classes are as good as before, within chance"
    assert http.get(f"{path}/versions/2").json() == version


def test_a_class_that_damages_an_old_one_is_told(http: httpx.Client) -> None:
    """The same sketches under another name: nobody can tell the two classes apart any more."""
    examples = [(f"c{kind}", png(4030 + kind, i)) for kind in range(2) for i in range(8)]
    path = f"/v1/models/{adapt(http, examples, meta_model=PROTONET)['id']}"
    copies = [("copy", png(4030, i)) for i in range(8)]
    compared = made(add(http, path, copies))["change"]["old_examples"]
    assert compared["verdict"] == "the old classes got worse"
    fell = {c["name"]: c["before"] - c["after"] for c in compared["per_class"]}
    assert fell["c0"] > 0.5
    assert fell["c1"] == 0


def test_adding_again_changes_nothing(http: httpx.Client) -> None:
    path = f"/v1/models/{adapt(http, drawn(2, 2, first=4040))['id']}"
    more = [("class 0", png(4040, 7)), ("new", png(4042, 0))]
    first = made(add(http, path, more))
    again = add(http, path, more)
    assert made(again) == first
    same = http.patch(f"{path}/classes/new", json={"name": "new"})
    assert made(same, 200) == first
    assert again.headers["idempotent-replayed"] == same.headers["idempotent-replayed"] == "true"
    assert http.get(path).json()["latest_version"] == 2


def test_multipart_and_zip_add_the_same(http: httpx.Client) -> None:
    more = [("new", png(4052, i)) for i in range(2)]
    digests = set()
    for way in ("json", "parts", "zip"):
        path = f"/v1/models/{adapt(http, drawn(2, 2, first=4050), name=way)['id']}"
        if way == "json":
            answer = add(http, path, more)
        elif way == "parts":
            files = [("examples[new]", (f"{i}.png", data, "image/png")) for i, (_, data) in enumerate(more)]
            answer = http.post(f"{path}/examples", files=files, headers=WAIT)
        else:
            answer = http.post(f"{path}/examples", files=archive_of(in_folders(more)), headers=WAIT)
        digests.add(made(answer)["digest"])
        http.delete(path)
    assert len(digests) == 1


def test_examples_are_listed_and_removed(http: httpx.Client) -> None:
    path = f"/v1/models/{adapt(http, drawn(3, 2, first=4060))['id']}"
    pages, after = [], None
    while True:
        page = http.get(f"{path}/examples", params={"limit": 4, **({"after": after} if after else {})}).json()
        pages += page["data"]
        if not page["has_more"]:
            break
        after = page["next_cursor"]
    assert [e["label"] for e in pages] == ["class 0", "class 0", "class 1", "class 1", "class 2", "class 2"]
    assert sorted(e["source"] for e in pages) == [f"/support/{i}/input/image" for i in range(6)]
    gone = pages[0]["id"]
    version = made(http.delete(f"{path}/examples/{gone}", headers=WAIT), 200)
    assert [c["examples"] for c in version["classes"]] == [1, 2, 2]
    assert gone not in [e["id"] for e in http.get(f"{path}/examples").json()["data"]]
    assert gone in [e["id"] for e in http.get(f"{path}/examples", params={"version": 1}).json()["data"]]
    assert_problem(http.delete(f"{path}/examples/{gone}"), 404, "not_found")
    rest = http.get(f"{path}/examples").json()["data"]
    last = next(e["id"] for e in rest if e["label"] == "class 0")
    assert names(made(http.delete(f"{path}/examples/{last}", headers=WAIT), 200)) == ["class 1", "class 2"]
    one = next(e["id"] for e in rest if e["label"] == "class 1")
    other = next(e["id"] for e in rest if e["label"] == "class 1" and e["id"] != one)
    made(http.delete(f"{path}/examples/{one}", headers=WAIT), 200)
    assert_problem(http.delete(f"{path}/examples/{other}"), 422, "too_few_classes")


@pytest.mark.parametrize("meta_model", META_MODELS)
def test_renaming_never_adapts_again(http: httpx.Client, meta_model: str) -> None:
    model = adapt(http, [("a/b", png(4070, 0)), ("a/b", png(4070, 1)), *drawn(2, 2, first=4071)], meta_model=meta_model)
    path = f"/v1/models/{model['id']}"
    before = ask(http, path, [4070, 4071])["results"]
    version = made(http.patch(f"{path}/classes/{quote('a/b', safe='')}", json={"name": "か ?"}, headers=WAIT), 200)
    assert names(version) == ["class 0", "class 1", "か ?"]
    told = http.get(f"{path}/events", headers={"Accept": "application/json"}).json()["data"]
    assert not [e for e in told if e["version"] == 2 and e["event"] == "step"]
    after = ask(http, path, [4070, 4071])["results"]
    swap = {"a/b": "か ?"}
    assert [{swap.get(s["label"], s["label"]): s["probability"] for s in r["scores"]} for r in before] == [
        {s["label"]: s["probability"] for s in r["scores"]} for r in after
    ]
    back = made(http.patch(f"{path}/classes/{quote('か ?', safe='')}", json={"name": "a/b"}, headers=WAIT), 200)
    assert (back["version"], back["digest"]) == (3, model["digest"])


def test_renaming_keeps_the_quality(http: httpx.Client) -> None:
    model = adapt(http, drawn(2, 3, first=4080), meta_model=PROTONET)
    version = made(http.patch(f"/v1/models/{model['id']}/classes/class 1", json={"name": "z"}), 200)
    change = version["change"]
    assert (change["added"], change["removed"], change["old_examples"]) == (0, 0, None), "nothing else changed"
    renamed, expected = version["quality"], model["quality"]
    assert renamed["accuracy"] == expected["accuracy"]
    assert [c["name"] for c in renamed["per_class"]] == ["class 0", "z"]


def test_renaming_a_model_that_is_still_measured_adapts_nothing(http: httpx.Client) -> None:
    """The quality follows from the version that has it measured."""

    def renamed(first: int) -> dict[str, Any]:
        body = {"meta_model": "omniglot-maml", "support": support_of(drawn(5, 8, first=first))}
        path = http.post("/v1/models", json=body).headers["location"]
        return made(http.patch(f"{path}/classes/class 1", json={"name": "z"}, headers=WAIT), 200)

    # Measuring takes some hundredths of a second: where the change comes too late, it may not with the next model.
    versions = (renamed(first) for first in range(4400, 4440, 5))
    version = next((one for one in versions if one["quality"] is None), None)
    assert version, "measured before it was renamed, each of them: this shows nothing"
    path = f"/v1/models/{version['model']}"
    assert version["timings_ms"]["adapt"] == 0
    until(lambda: http.get(f"{path}/versions/2").json()["quality"])
    assert http.get(f"{path}/versions/1").json()["quality"]["n"] == http.get(path).json()["quality"]["n"] == 40


def test_removing_a_class(http: httpx.Client) -> None:
    path = f"/v1/models/{adapt(http, drawn(3, 1, first=4090))['id']}"
    version = made(http.delete(f"{path}/classes/class 1", headers=WAIT), 200)
    assert names(version) == ["class 0", "class 2"]
    assert (version["change"]["kind"], version["change"]["removed"]) == ("class_removed", 1)
    assert_problem(http.delete(f"{path}/classes/class 1"), 404)
    assert_problem(http.delete(f"{path}/classes/class 2"), 422, "too_few_classes")


def test_stable_moves_only_when_asked(http: httpx.Client) -> None:
    path = f"/v1/models/{adapt(http, drawn(2, 1, first=4100))['id']}"
    for kind in range(2, 4):
        made(add(http, path, [(f"class {kind}", png(4100 + kind, 0))]))
        assert ask(http, path, [4100], version="stable")["version"] == 1
    assert http.patch(path, json={"stable": 2}).json()["stable_version"] == 2
    assert ask(http, path, [4100], version="stable")["version"] == 2
    assert [(v["version"], v["stable"]) for v in http.get(f"{path}/versions").json()["data"]] == [
        (3, False),
        (2, True),
        (1, False),
    ]
    first = http.get(f"{path}/versions", params={"limit": 2}).json()
    assert (first["has_more"], first["next_cursor"]) == (True, "2")
    rest = http.get(f"{path}/versions", params={"after": "2"}).json()
    assert ([v["version"] for v in rest["data"]], rest["has_more"]) == ([1], False)


def test_if_match_guards_growth(http: httpx.Client) -> None:
    path = f"/v1/models/{adapt(http, drawn(2, 1, first=4110))['id']}"
    tag = http.get(path).headers["etag"]
    made(add(http, path, [("class 0", png(4110, 1))], If_Match=tag))
    assert_problem(add(http, path, [("class 0", png(4110, 2))], If_Match=tag), 412, "lost_update")
    assert_problem(http.patch(path, json={"name": "x"}, headers={"If-Match": tag}), 412, "lost_update")
    assert http.get(path).json()["latest_version"] == 2


def test_the_tag_of_a_change_says_nothing_of_what_came_after_it(http: httpx.Client) -> None:
    """The answer waits until the version is adapted, and shows that version alone."""
    slow = {"inner_steps": 10, "inner_lr": 0.001}
    path = f"/v1/models/{adapt(http, drawn(3, 1, first=4115), meta_model='omniglot-maml', adaptation=slow)['id']}"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(add, http, path, [("new", png(4118, i)) for i in range(8)])
        until(lambda: http.get(path).json()["latest_version"] == 2)
        assert http.patch(path, json={"name": "another's"}).status_code == 200
    tag = waiting.result().headers["etag"]
    assert_problem(http.patch(path, json={"name": "mine"}, headers={"If-Match": tag}), 412, "lost_update")
    assert http.get(path).json()["name"] == "another's"


def test_changes_at_the_same_time_are_all_kept(http: httpx.Client) -> None:
    path = f"/v1/models/{adapt(http, drawn(2, 1, first=4120))['id']}"
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda i: made(add(http, path, [("class 0", png(4120, 10 + i))])), range(16)))
    assert http.get(path).json()["latest_version"] == 17
    assert len(http.get(f"{path}/examples").json()["data"]) == 18


def test_the_old_version_answers_while_the_new_one_is_adapted(server: Embedded, http: httpx.Client) -> None:
    slow = {"inner_steps": 10, "inner_lr": 0.001}
    model = adapt(http, drawn(3, 1, first=4130), meta_model="omniglot-maml", adaptation=slow)
    path = f"/v1/models/{model['id']}"
    with asleep(server):
        later = add(http, path, [("new", png(4133, i)) for i in range(2)], Prefer="respond-async")
        assert later.status_code == 202, later.text
        assert ask(http, path, [4130])["version"] == 1
        assert http.get(path).json()["status"] == "ready"
    assert settled(http, later.headers["location"])["status"] == "ready"
    assert ask(http, path, [4133])["version"] == 2


def test_a_change_reads_no_record_to_tell_a_worker_of_it(server: Embedded, http: httpx.Client) -> None:
    path = f"/v1/models/{adapt(http, drawn(2, 1, first=4130), meta_model='omniglot-maml')['id']}"
    with asleep(server), redis.Redis.from_url(records_url(server.settings)) as records:
        records.config_resetstat()
        assert add(http, path, [("new", png(4133, 0))], Prefer="respond-async").status_code in (201, 202)
        # What is asked, what the change starts from, and what it made, with its head, when it is there and at the end.
        assert records.info("commandstats")["cmdstat_hgetall"]["calls"] <= 1 + 1 + 2 + 2


def test_a_canceled_change_is_dropped(server: Embedded, http: httpx.Client) -> None:
    slow = {"inner_steps": 10, "inner_lr": 0.001}
    model = adapt(http, drawn(3, 1, first=4140), meta_model="omniglot-maml", adaptation=slow)
    path = f"/v1/models/{model['id']}"
    with asleep(server):
        assert add(http, path, [("new", png(4143, i)) for i in range(8)], Prefer="respond-async").status_code == 202
        assert http.post(f"{path}/cancel").status_code == 200
    assert http.get(f"{path}/versions/2").json()["status"] == "canceled"
    assert "only one that is ready" in assert_problem(http.patch(path, json={"stable": 2}), 422)["detail"]
    assert_problem(
        http.post(f"{path}/predictions", json={"inputs": inputs_json([0])}, params={"version": 2}), 409, "canceled"
    )
    assert len(http.get(f"{path}/examples").json()["data"]) == 3
    assert ask(http, path, [4140])["version"] == 1


@pytest.mark.parametrize(
    ("examples", "code"),
    [
        ([], "no_examples"),
        ([("a", b"broken")], "undecodable_image"),
        ([(" ", png(0, 0))], "bad_label"),
        ([(f"class {i}", png(4200, i)) for i in range(201)], "too_many_classes"),
    ],
)
def test_examples_that_cannot_be_added(http: httpx.Client, examples: list[Labelled], code: str) -> None:
    path = f"/v1/models/{adapt(http, drawn(3, 1, first=4150))['id']}"
    problem = assert_problem(add(http, path, examples), 422, code)
    assert http.get(path).json()["latest_version"] == 1
    if code in ("undecodable_image", "bad_label"):
        assert problem["errors"][0]["pointer"].startswith("/examples/0/")


def test_what_is_not_there(http: httpx.Client) -> None:
    model = adapt(http, drawn(2, 1, first=4160))
    path = f"/v1/models/{model['id']}"
    for answer in (
        http.get(f"{path}/versions/2"),
        http.get(f"{path}.1"),
        http.get(f"{path}/examples", params={"version": 7}),
        http.post(f"{path}/predictions", json={"inputs": inputs_json([0])}, params={"version": 2}),
        http.delete(f"{path}/examples/ex_none"),
        http.patch(f"{path}/classes/none", json={"name": "x"}),
        http.post("/v1/models/mdl_absent/examples", json={"examples": []}),
        http.get("/v1/models/mdl_absent/versions"),
    ):
        assert_problem(answer, 404, "not_found")
    for answer in (
        http.get(f"{path}/versions/0"),
        http.get(f"{path}/versions/x"),
        http.get(f"{path}/examples", params={"version": "newest"}),
        http.get(f"{path}/examples", params={"after": "x"}),
        http.patch(f"{path}/classes/class 0", json={"name": ""}),
        http.patch(f"{path}/classes/class 0", json={"name": "class 1"}),
    ):
        assert_problem(answer, 422)


def test_a_deleted_model_takes_its_versions_along(http: httpx.Client) -> None:
    path = f"/v1/models/{adapt(http, drawn(2, 1, first=4170))['id']}"
    made(add(http, path, [("new", png(4172, 0))]))
    assert http.delete(path).status_code == 204
    for answer in (http.get(path), http.get(f"{path}/versions/2"), http.get(f"{path}/examples")):
        assert_problem(answer, 404)


def test_a_grown_model_answers_predictions_in_batches_alike(http: httpx.Client) -> None:
    """Promise 3 holds for versions."""
    path = f"/v1/models/{adapt(http, drawn(2, 1, first=4180))['id']}"
    made(add(http, path, [("new", png(4182, 0))]))
    together = ask(http, path, [4180, 4181, 4182])["results"]
    alone = [ask(http, path, [kind])["results"][0]["scores"] for kind in (4180, 4181, 4182)]
    assert [r["scores"] for r in together] == alone
    assert best(predict(http, path.rsplit("/", 1)[-1], [png(4182, 9)])) == ["new"]


def test_a_tag_that_is_none_is_refused_whatever_was_made_before(http: httpx.Client) -> None:
    model = adapt(http, drawn(2, 1, first=4170))
    body, key = {"examples": support_of(drawn(1, 1, first=4175))}, {"Idempotency-Key": "grow 4170"}
    path = f"/v1/models/{model['id']}/examples"
    made = http.post(path, json=body, headers={**key, "Prefer": "wait=20"})
    assert made.status_code == 201
    assert http.post(path, json=body, headers=key).json()["version"] == made.json()["version"]
    assert_problem(http.post(path, json=body, headers={**key, "If-Match": "{}"}), 400, "malformed_request")
