"""Webhooks as their receiver meets them: a real service, a real HTTP server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import standardwebhooks

from adapter.config import Settings
from adapter.keys import KeyStore
from adapter.store import connect
from api.keyring import FRESH_SECONDS
from innerloop.cli.console import ExitCode
from innerloop.embedded import Embedded, records_url
from tests.asking import assert_problem, drawn, in_folders, parts_of, settled, support_of
from tests.drawings import support_json
from tests.faults.victim import until
from tests.receiver import SECRET, Receiver, receiving

ROOT = Path(__file__).parents[2]

ASYNC = {"Prefer": "respond-async"}


@pytest.fixture(scope="module")
def allowed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A service whose operator lets webhooks reach loopback."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INNERLOOP_WEBHOOK_NETWORKS", "127.0.0.1")
        running = Embedded(Settings(port=0, data_dir=tmp_path_factory.mktemp("webhooks")))
        running.__enter__()
    yield running
    running.__exit__()


@pytest.fixture
def http(allowed: Embedded) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=allowed.url, timeout=60) as client:
        yield client


def attempts(http: httpx.Client, path: str) -> list[dict[str, Any]]:
    events = http.get(f"{path}/events", headers={"Accept": "application/json"}).json()["data"]
    return [event["webhook"] for event in events if event["event"] == "webhook"]


def told(http: httpx.Client, receiver: Receiver, first: int, secret: str = SECRET) -> str:
    body = {"support": support_json(2, 1, first=first), "webhook": {"url": receiver.url, "secret": secret}}
    answer = http.post("/v1/models", json=body, headers=ASYNC)
    assert answer.status_code in (201, 202), answer.text
    return answer.headers["location"]


def test_the_command_line_asks_for_one(allowed: Embedded, tmp_path: Path) -> None:
    for path, data in in_folders(drawn(2, 1, first=8490)).items():
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_bytes(data)

    def adapt(*options: str, secret: str = SECRET) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "innerloop", "adapt", str(tmp_path), "--json", "--url", allowed.url, *options],
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "INNERLOOP_WEBHOOK_SECRET": secret},
            capture_output=True,
            text=True,
            check=False,
        )

    with receiving() as receiver:
        ran = adapt("--webhook", receiver.url)
        assert ran.returncode == 0, ran.stderr
        until(lambda: bool(receiver.got))
        [(headers, body)] = receiver.got
        said = standardwebhooks.Webhook(SECRET).verify(body, headers)
        assert said["data"]["id"] == json.loads(ran.stdout)["id"]
    for refused in (adapt("--webhook", "ftp://127.0.0.1/"), adapt("--webhook", receiver.url, secret="")):
        assert refused.returncode == ExitCode.REFUSED
        assert json.loads(refused.stderr)["error"]["code"] == "invalid_webhook"


def test_ready_is_told_and_signed(http: httpx.Client) -> None:
    with receiving() as receiver:
        path = told(http, receiver, 8500)
        until(lambda: bool(receiver.got))
        [(headers, body)] = receiver.got
        said = standardwebhooks.Webhook(SECRET).verify(body, headers)
        assert said["type"] == "model.ready"
        assert said["data"] == {
            "id": path.rpartition("/")[2],
            "object": "model",
            "version": 1,
            "status": "ready",
            "error": None,
        }
        assert headers["content-type"] == "application/json"
        assert http.get(path).json()["status"] == "ready"
        until(lambda: bool(attempts(http, path)))
        [attempt] = attempts(http, path)
        assert attempt == {
            "message": headers["webhook-id"],
            "url": receiver.url,
            "outcome": "delivered",
            "attempt": 1,
            "http_status": 204,
        }


def test_versions_are_told(http: httpx.Client) -> None:
    with receiving() as receiver:
        path = told(http, receiver, 8520)
        settled(http, path)
        assert http.post(f"{path}/examples", json={"examples": support_json(1, 1, first=8525)}).is_success
        assert http.patch(f"{path}/classes/class 0", json={"name": "zero"}).is_success
        until(lambda: len(receiver.got) == 3)
        assert sorted(json.loads(body)["data"]["version"] for _, body in receiver.got) == [1, 2, 3]


def test_multipart_and_a_model_that_is_ready_already(http: httpx.Client) -> None:
    examples = drawn(2, 1, first=8530)
    assert http.post("/v1/models", json={"support": support_of(examples)}).status_code == 201
    with receiving() as receiver:
        data = {"webhook": json.dumps({"url": receiver.url, "secret": SECRET})}
        assert http.post("/v1/models", data=data, files=parts_of(examples)).status_code == 201
        until(lambda: len(receiver.got) == 1)


def test_a_receiver_that_fails_is_tried_again_with_the_same_message(http: httpx.Client) -> None:
    with receiving(0, 500, 200) as receiver:
        path = told(http, receiver, 8540)
        until(lambda: len(receiver.got) == 2)
        (first, one), (second, two) = receiver.got
        assert one == two
        assert first["webhook-id"] == second["webhook-id"]
        assert first["webhook-timestamp"] != second["webhook-timestamp"]
        standardwebhooks.Webhook(SECRET).verify(two, second)
        until(lambda: len(attempts(http, path)) == 2)
        assert [(a["outcome"], a["http_status"]) for a in attempts(http, path)] == [
            ("retrying", 500),
            ("delivered", 200),
        ]


@pytest.mark.parametrize(("status", "outcome"), [(301, "retrying"), (410, "gave_up")])
def test_redirects_are_not_followed_and_gone_is_gone(http: httpx.Client, status: int, outcome: str) -> None:
    with receiving() as other, receiving(0, status, headers={"Location": other.url}) as receiver:
        path = told(http, receiver, 8550 + status)
        until(lambda: bool(attempts(http, path)))
        assert attempts(http, path)[0]["outcome"] == outcome
        assert other.got == []


def test_a_key_has_its_own_secret_and_one_that_looks_sees_no_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INNERLOOP_WEBHOOK_NETWORKS", "127.0.0.0/8")
        running = Embedded(Settings(port=0, data_dir=tmp_path_factory.mktemp("keyed")))
        running.__enter__()
    try:
        with connect(records_url(running.settings)) as client:
            key, text = KeyStore(client).create("anna")
            _, looker = KeyStore(client).create("anna", scopes=("predict",))
        time.sleep(FRESH_SECONDS)
        body = {"support": support_json(2, 1, first=8560)}
        with (
            receiving() as receiver,
            httpx.Client(base_url=running.url, headers={"Authorization": f"Bearer {text}"}) as http,
        ):
            made = http.post("/v1/models", json={**body, "webhook": {"url": receiver.url}})
            assert made.status_code == 201
            until(lambda: bool(receiver.got))
            assert key.webhook_secret is not None
            standardwebhooks.Webhook(key.webhook_secret).verify(receiver.got[0][1], receiver.got[0][0])
            path = made.headers["location"]
            until(lambda: bool(attempts(http, path)))
            assert attempts(http, path)[0]["url"] == receiver.url
            http.headers["Authorization"] = f"Bearer {looker}"
            assert attempts(http, path)[0]["url"] == f"http://127.0.0.1:{receiver.port}"
    finally:
        running.__exit__()


@pytest.mark.parametrize(
    ("webhook", "pointer"),
    [
        ({"url": "https://example.com"}, "/webhook/secret"),
        ({"url": "https://example.com", "secret": "whsec_c2hvcnQ="}, "/webhook/secret"),
        ({"url": "ftp://example.com", "secret": SECRET}, "/webhook/url"),
        ({"url": "//example.com", "secret": SECRET}, "/webhook/url"),
        ({"url": "https://", "secret": SECRET}, "/webhook/url"),
        ({"url": "https://a:b@example.com", "secret": SECRET}, "/webhook/url"),
        ({"url": "http://169.254.169.254/latest", "secret": SECRET}, "/webhook/url"),
        ({"url": "http://[::1]/", "secret": SECRET}, "/webhook/url"),
        ({"url": "http://exa mple.com/", "secret": SECRET}, "/webhook/url"),
        ({"url": "http://example.com:99999/", "secret": SECRET}, "/webhook/url"),
        ({"url": "http://example..com/", "secret": SECRET}, "/webhook/url"),
        ({"secret": SECRET}, "/webhook/url"),
        ({"url": "https://example.com", "secret": SECRET, "events": []}, "/webhook/events"),
    ],
)
def test_webhooks_that_cannot_be(http: httpx.Client, webhook: dict[str, Any], pointer: str) -> None:
    body = {"support": support_json(2, 1, first=8570), "webhook": webhook}
    problem = assert_problem(http.post("/v1/models", json=body), 422)
    assert problem["errors"][0]["pointer"] == pointer


def reached(url: Callable[[int], str], server: Embedded, first: int) -> tuple[Receiver, list[dict[str, Any]]]:
    """What a receiver on loopback gets, by this name for it, of a service that was allowed nothing."""
    with receiving() as receiver, httpx.Client(base_url=server.url, timeout=60) as http:
        body = {
            "support": support_json(2, 1, first=first),
            "webhook": {"url": url(receiver.port), "secret": SECRET},
        }
        answer = http.post("/v1/models", json=body)
        assert answer.status_code == 201, answer.text
        until(lambda: bool(attempts(http, answer.headers["location"])))
        return receiver, attempts(http, answer.headers["location"])


@pytest.mark.parametrize(("place", "host"), [(0, "localhost"), (1, "2130706433"), (2, "0x7f.1")])
def test_names_of_private_addresses_are_never_reached(server: Embedded, place: int, host: str) -> None:
    receiver, shown = reached(lambda port: f"http://{host}:{port}/", server, 8580 + 10 * place)
    assert receiver.got == []
    assert [(a["outcome"], a["attempt"]) for a in shown] == [("gave_up", 1)]
    assert "public internet" in shown[0]["detail"]
