"""The client's manners: typed errors, another try where it helps, one definition for both kinds."""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import re
import ssl
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from innerloop import AsyncClient, Client, InnerloopHTTPError, ServerUnreachable
from innerloop.client import clients, errors, flows, growth_flows, model_flows, patience, vector_flows
from innerloop.client.patience import FIRST_PAUSE, LONGEST_PAUSE, jitter, lost_pause
from innerloop.embedded import Embedded
from tests.asking import drawn
from tests.drawings import png
from tests.local_server import listening

ROOT = Path(__file__).parent.parent.parent
Answer = tuple[int, dict[str, str], Any]


class Scripted:
    """Prepared answers in turn, and what was asked; None breaks the connection."""

    def __init__(self) -> None:
        self.answers: list[Answer | None] = []
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.url = ""

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes] | None:
        self.asked.append((f"{method} {path}", dict(headers), body))
        answer = self.answers.pop(0)
        return None if answer is None else (answer[0], answer[1], json.dumps(answer[2]).encode())


@pytest.fixture
def script() -> Iterator[Scripted]:
    made = Scripted()
    with listening(made.answer) as port:
        made.url = f"http://127.0.0.1:{port}"
        yield made


def problem(status: int, code: str, **more: Any) -> Answer:
    headers = {"Retry-After": "0"} if more.get("retryable") else {}
    return status, headers, {"code": code, "status": status, "detail": "…", "retryable": False, **more}


READY = {"id": "mdl_1", "status": "ready"}


def test_overload_is_tried_again_with_the_same_key(script: Scripted) -> None:
    script.answers = [
        problem(503, "queue_full", retryable=True),
        problem(429, "rate", retryable=True),
        (201, {}, READY),
    ]
    with Client(script.url) as client:
        assert client.adapt([("a", png(1, 1)), ("b", png(2, 1))]) == READY
    keys = {headers["Idempotency-Key"] for _, headers, _ in script.asked}
    assert len(script.asked) == 3
    assert len(keys) == 1


def test_a_broken_connection_is_tried_again_with_the_same_key(script: Scripted) -> None:
    script.answers = [None, (201, {}, READY)]
    with Client(script.url) as client:
        assert client.adapt([("a", png(1, 1))]) == READY
    assert len({headers["Idempotency-Key"] for _, headers, _ in script.asked}) == 1


def test_two_calls_have_two_keys(script: Scripted) -> None:
    script.answers = [(201, {}, READY), (201, {}, READY)]
    with Client(script.url) as client:
        client.adapt([("a", png(1, 1))])
        client.adapt([("a", png(1, 1))])
    assert len({headers["Idempotency-Key"] for _, headers, _ in script.asked}) == 2


def test_patience_ends(script: Scripted) -> None:
    script.answers = [problem(503, "no_worker", retryable=True)] * 3
    with Client(script.url, tries=2) as client, pytest.raises(errors.NoWorker):
        client.models()
    assert len(script.asked) == 2


def test_what_another_try_cannot_help_is_raised_at_once(script: Scripted) -> None:
    script.answers = [problem(404, "not_found")]
    with Client(script.url) as client, pytest.raises(errors.NotFound):
        client.model("mdl_none")
    assert len(script.asked) == 1


def test_a_deletion_whose_answer_was_lost_is_one(script: Scripted) -> None:
    script.answers = [None, problem(404, "not_found")]
    with Client(script.url) as client:
        client.delete("mdl_1")
    script.answers = [problem(404, "not_found")]
    with Client(script.url) as client, pytest.raises(errors.NotFound):
        client.delete("mdl_1")


@pytest.mark.parametrize(("wait", "sent"), [(float("inf"), "60.000"), (1e-5, "0.000"), (1e6, "60.000"), (2.5, "2.500")])
def test_how_long_to_wait_is_told_in_plain_numbers(script: Scripted, wait: float, sent: str) -> None:
    script.answers = [(201, {}, READY)]
    with Client(script.url) as client:
        client.adapt([("a", png(1, 1))], wait=wait)
    assert script.asked[0][1]["Prefer"] == f"wait={sent}"


def test_a_number_that_is_none_goes_to_the_server(script: Scripted) -> None:
    file = io.BytesIO()
    np.save(file, np.array([1.5, np.nan, np.inf], np.float32))
    script.answers = [(200, {}, {"results": [{"error": {}}]})]
    with Client(script.url) as client:
        client.predict("mdl_1", [file.getvalue()])
    assert json.loads(script.asked[0][2])["inputs"] == [{"vector": [1.5, None, None]}]


@pytest.mark.parametrize("code", ["worker_died", "meta_model_gone", "adaptation_failed"])
def test_whatever_ended_an_adaptation_it_has_failed(script: Scripted, code: str) -> None:
    failed = {"id": "mdl_1", "status": "failed", "error": {"code": code, "detail": "…"}}
    script.answers = [(202, {}, {"id": "mdl_1", "status": "adapting"}), (200, {}, failed)]
    with Client(script.url) as client, pytest.raises(errors.AdaptationFailed) as told:
        client.adapt([("a", png(1, 1))])
    assert told.value.code == code


def test_an_accepted_model_is_followed_until_it_is_ready(script: Scripted) -> None:
    script.answers = [(202, {}, {"id": "mdl_1", "status": "queued"}), (200, {}, READY)]
    with Client(script.url) as client:
        assert client.adapt([("a", png(1, 1))]) == READY
    assert [line for line, _, _ in script.asked] == ["POST /v1/models", "GET /v1/models/mdl_1"]


def test_a_model_that_fails_later_is_an_error(script: Scripted) -> None:
    failed = {"id": "mdl_1", "status": "failed", "error": {"code": "adaptation_diverged", "detail": "lower inner_lr"}}
    script.answers = [(202, {}, {"id": "mdl_1", "status": "adapting"}), (200, {}, failed)]
    with Client(script.url) as client, pytest.raises(errors.AdaptationDiverged, match="lower inner_lr"):
        client.adapt([("a", png(1, 1))])


def test_waiting_ends(script: Scripted) -> None:
    script.answers = [(202, {}, {"id": "mdl_1", "status": "queued"})] * 20
    with Client(script.url) as client, pytest.raises(TimeoutError, match="still queued after 0"):
        client.adapt([("a", png(1, 1))], wait=0)


def test_large_batches_are_sent_in_parts(script: Scripted) -> None:
    script.answers = [(200, {}, {"results": [{"id": i}] * n}) for i, n in enumerate((2, 2, 1))]
    with Client(script.url) as client:
        results = client.predict("mdl_1", [png(1, i) for i in range(5)], batch=2, progress=True)
    assert [r["id"] for r in results] == [0, 0, 1, 1, 2]
    assert [len(json.loads(body)["inputs"]) for _, _, body in script.asked] == [2, 2, 1]


def test_lists_are_read_to_their_end(script: Scripted) -> None:
    pages = [(["ex_1"], "c1"), (["ex_2"], None)]
    script.answers = [
        (200, {}, {"data": [{"id": i} for i in ids], "has_more": bool(after), "next_cursor": after})
        for ids, after in pages
    ]
    with Client(script.url) as client:
        assert client.examples("mdl_1", version=2) == [{"id": "ex_1"}, {"id": "ex_2"}]
    assert [asked for asked, *_ in script.asked] == [
        "GET /v1/models/mdl_1/examples?limit=1000&version=2",
        "GET /v1/models/mdl_1/examples?limit=1000&version=2&after=c1",
    ]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (422, "too_few_classes", errors.TooFewClasses),
        (422, "a_code_of_tomorrow", errors.Unprocessable),
        (410, "expired", errors.Expired),
        (409, "not_ready", errors.NotReady),
        (429, "rate_limited", errors.RateLimited),
        (503, "store_full", errors.StoreFull),
        (500, "export_differs", errors.ExportDiffers),
        (599, "strange", InnerloopHTTPError),
    ],
)
def test_errors_have_types(status: int, code: str, kind: type[InnerloopHTTPError]) -> None:
    error = errors.error_of({"status": status, "code": code, "detail": "why"}, 3.0)
    assert type(error) is kind
    assert (error.code, error.status, error.retry_after) == (code, status, 3.0)
    assert "why" in str(error)


def test_every_error_class_of_the_server_has_one_in_the_client() -> None:
    """The client knows nothing of the server; this is where the two trees are compared."""
    from adapter.errors import BadInput, InnerloopError, Overload

    def family(base: type[InnerloopError]) -> list[type[InnerloopError]]:
        return [base, *(member for child in base.__subclasses__() for member in family(child))]

    plain = {InnerloopHTTPError, errors.ServerFault}
    for kind in family(InnerloopError):
        if kind in (InnerloopError, BadInput, Overload) or kind.status in (405, 408):
            continue
        found = type(errors.error_of({"status": kind.status, "code": kind.code}))
        assert found not in plain, f"{kind.__name__} ({kind.status} {kind.code}) has no type in the client"


def test_pauses_are_spread_and_bounded() -> None:
    drawn_pauses = [jitter(attempt) for attempt in range(20) for _ in range(50)]
    assert 0 <= min(drawn_pauses) < 0.05
    assert max(drawn_pauses) <= LONGEST_PAUSE
    assert max(jitter(0) for _ in range(50)) <= FIRST_PAUSE
    assert FIRST_PAUSE < max(jitter(3) for _ in range(50)) <= 8 * FIRST_PAUSE
    assert min(jitter(0, retry_after=7) for _ in range(50)) >= 7
    assert LONGEST_PAUSE / 2 <= lost_pause(5000) <= LONGEST_PAUSE  # who has as many tries is to have them
    assert jitter(5000) <= LONGEST_PAUSE


def test_both_clients_have_every_call() -> None:
    calls = {
        name: flow
        for module in (flows, growth_flows, model_flows, vector_flows)
        for name, flow in vars(module).items()
        if inspect.isgeneratorfunction(flow) and flow.__module__ == module.__name__ and name[0] != "_"
    }
    assert len(calls) >= 9
    for name, flow in calls.items():
        assert inspect.getdoc(getattr(Client, name)) == inspect.getdoc(flow)
        assert inspect.iscoroutinefunction(getattr(AsyncClient, name)), name


def test_async_against_a_real_server(server: Embedded) -> None:
    async def job() -> None:
        async with AsyncClient(server.url) as client:
            model = await client.adapt(drawn(3, 2, first=5100))
            first, second = await asyncio.gather(
                client.predict(model["id"], [png(5100, 9)]), client.predict(model["id"], [png(5102, 9)])
            )
            assert (first[0]["scores"][0]["label"], second[0]["scores"][0]["label"]) == ("class 0", "class 2")
            with pytest.raises(errors.NotFound):
                await client.model("mdl_none")
            assert model["id"] in {m["id"] for m in await client.models()}
            await client.delete(model["id"])
            once = await client.classify(drawn(2, 1, first=5110), [png(5110, 5)])
            assert once["results"][0]["scores"][0]["label"] == "class 0"

    asyncio.run(job())


def test_certificates_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[ssl.SSLContext] = []
    make = httpx.create_ssl_context
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: read.append(make()) or read[-1])
    patience.trusted.cache_clear()
    for _ in range(3):
        Client().close()
    assert len(read) == 1


def test_a_server_that_starts_again_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(clients, "time", SimpleNamespace(sleep=pauses.append))
    for _ in range(5):
        pauses.clear()
        with Client("http://127.0.0.1:1") as client, pytest.raises(ServerUnreachable):
            client.models()
        assert 11 < sum(pauses) < 23
        assert all(0.1 <= pause <= LONGEST_PAUSE for pause in pauses)


def test_the_one_finding_is_told(script: Scripted) -> None:
    finding = {"pointer": "/support/0/label", "code": "bad_label", "detail": "a label has at most 200 characters"}
    script.answers = [problem(422, "bad_label", detail="1 of 2 labels cannot be used", errors=[finding])]
    with Client(script.url) as client, pytest.raises(errors.BadLabel) as told:
        client.adapt([("a" * 300, "hello"), ("b", "bye")])
    assert "/support/0/label: a label has at most 200 characters" in str(told.value)
    told.value.problem["detail"] = finding["detail"]
    assert str(told.value).count("at most 200") == 1


def test_quality_is_waited_for(script: Scripted) -> None:
    measured = {"accuracy": None, "warnings": ["few"]}
    script.answers = [(200, {}, {**READY, "quality": None}), (200, {}, {**READY, "quality": measured})]
    with Client(script.url) as client:
        assert client.quality("mdl_1") == measured
        script.answers = [(200, {}, {**READY, "quality": None})]
        with pytest.raises(TimeoutError, match="not measured after -1 s"):
            client.quality("mdl_1", wait=-1)


def test_what_the_page_offers_to_try_has_a_sure_answer(server: Embedded) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()
    [example] = document["components"]["schemas"]["ClassifyRequest"]["examples"]
    [answer] = httpx.post(f"{server.url}/v1/classify", json=example).raise_for_status().json()["results"]
    assert answer["label"] == "ka"
    assert answer["confidence"] > 0.7
    assert "<" not in re.sub("`[^`]*`", "", " ".join(described(document["paths"])))


def described(document: Any) -> Iterator[str]:
    """Every description in a document."""
    if isinstance(document, dict):
        if isinstance(document.get("description"), str):
            yield document["description"]
        document = list(document.values())
    for child in document if isinstance(document, list) else ():
        yield from described(child)


TYPED = """
import asyncio

import numpy as np
import pandas as pd

from innerloop import AsyncClient, Client, FewShotClassifier

frame = pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"]})
FewShotClassifier().fit(frame["text"], frame["label"]).predict(frame["text"])
FewShotClassifier().fit(frame[["text"]], frame["label"]).predict_proba(frame)
FewShotClassifier().fit(np.eye(2), np.array([0, 1])).rejected([[0.5, 1.0]])
FewShotClassifier().fit(["a", {"text": "b"}], ["x", "y"]).score([{"text": "b"}], ["x"])


def ask(client: Client) -> None:
    client.predict("mdl_1", np.eye(2))
    client.predict("mdl_1", frame["text"])
    client.predict("mdl_1", [[0.5, 1.0], {"vector": [0.5, 1.0]}, "text", b"file"])
    client.predict_vectors("mdl_1", frame, version=1)
    state = client.model("mdl_1")
    client.update("mdl_1", name=None, stable=2, if_match=state.etag).etag.strip('"')
    print([event["event"] for event in client.follow(client.adapt([("a", "b")], wait=None)["id"])])


async def main() -> None:
    async with AsyncClient() as client:
        task = asyncio.create_task(client.predict("mdl_1", ["a"]))
        print((await task)[0]["label"])
        async for event in client.follow("mdl_1", after="1-0"):
            print(event["id"])
        print((await client.update("mdl_1", ttl_seconds=60)).etag)


asyncio.run(main())
asyncio.run(AsyncClient().models())
"""


def test_types_are_told_to_whoever_installs_it(tmp_path: Path) -> None:
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert packaged["innerloop"] == ["py.typed"]
    assert (ROOT / "innerloop" / "py.typed").is_file()
    program = tmp_path / "typed.py"
    program.write_text(TYPED)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)]}))
    command = [sys.executable, "-m", "pyright", "--project", str(tmp_path), "--pythonpath", sys.executable]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
