"""Keys: who may ask, for what, until when; made and ended by the command line while the service runs."""

from __future__ import annotations

import hashlib
import json
import re
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from adapter import redis_store
from adapter.config import Settings
from adapter.keys import KeyStore, keys_of_settings
from adapter.redis_store import connect
from api.keyring import FRESH_SECONDS
from innerloop.cli import app
from innerloop.embedded import Embedded, records_url
from tests.asking import adapt, assert_problem, drawn
from tests.drawings import inputs_json, png, support_json
from tests.e2e.test_cancel_and_events import ASYNC, SSE, slow, streamed
from tests.faults.victim import asleep, until

ROOT = Path(__file__).parents[2]

Keys = Callable[..., Any]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A service of two API processes with a key of the operator's in its environment."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("INNERLOOP_API_KEYS", f"anna:{hashlib.sha256(b'key-a').hexdigest()}")
            patch.setenv("INNERLOOP_API_PROCESSES", "2")
            running = stack.enter_context(Embedded(Settings(port=0, data_dir=tmp_path_factory.mktemp("guarded"))))
        yield running


@pytest.fixture(scope="module")
def keys(guarded: Embedded) -> Keys:
    """`innerloop keys … --json` on that service's data folder."""
    return lambda *arguments, expect=0: command(guarded.data, *arguments, expect=expect)


def command(data: Path, *arguments: str, expect: int = 0) -> Any:
    ran = subprocess.run(
        [sys.executable, "-m", "innerloop", "keys", *arguments, "--data-dir", str(data), "--json"],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == expect, ran.stdout + ran.stderr
    return json.loads(ran.stdout if expect == 0 else ran.stderr)


def holder(running: Embedded, key: str | None) -> httpx.Client:
    """A client with a key, which the service knows by now; connections spread over its processes."""
    time.sleep(FRESH_SECONDS)
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    return httpx.Client(
        base_url=running.url, timeout=60, headers=headers, limits=httpx.Limits(max_keepalive_connections=0)
    )


def test_a_key_is_shown_once_and_kept_as_a_hash(guarded: Embedded, keys: Keys) -> None:
    made = keys("create", "bert", "--name", "laptop")
    assert re.fullmatch(r"il_[0-9a-f]{12}_[\w-]{43}", made["key"])
    assert made["scopes"] == ["predict", "adapt"]
    [listed] = [key for key in keys("list") if key["id"] == made["id"]]
    assert (listed["owner"], listed["name"], listed["status"]) == ("bert", "laptop", "active")
    assert made["key"] not in json.dumps(keys("list"))
    secret = made["key"].split("_", 2)[2].encode()
    stored = b"".join(path.read_bytes() for path in (guarded.data / "records").rglob("*") if path.is_file())
    assert made["id"].encode() in stored
    assert secret not in stored
    with holder(guarded, made["key"]) as bert:
        assert adapt(bert, drawn(2, 1, first=8000))["status"] == "ready"


@pytest.mark.parametrize("scope", ["predict", "adapt", "admin"])
def test_scopes(guarded: Embedded, keys: Keys, scope: str) -> None:
    with holder(guarded, keys("create", "bert", "--scope", scope)["key"]) as bert:
        with holder(guarded, keys("create", "bert")["key"]) as both:
            path = f"/v1/models/{adapt(both, drawn(2, 1, first=8010))['id']}"
            preview = both.get(f"{path}/examples").json()["data"][0]["preview"]
        asked = {
            "predict": [
                bert.get("/v1/models"),
                bert.get(path),
                bert.get("/v1/meta-models"),
                bert.get("/v1/limits"),
                bert.post(f"{path}/predictions", json={"inputs": inputs_json([8010])}),
            ],
            "adapt": [
                bert.post("/v1/models", json={"support": support_json(2, 1, first=8020)}),
                bert.post("/v1/classify", json={"support": support_json(2, 1), "inputs": inputs_json([0])}),
                bert.patch(path, json={"name": "x"}),
                bert.post(f"{path}/exports", json={"format": "safetensors"}),
                bert.get(preview),
            ],
        }
        for wanted, answers in asked.items():
            for answer in answers:
                if scope in (wanted, "admin"):
                    assert answer.is_success, answer.text
                else:
                    assert wanted in assert_problem(answer, 403, "forbidden")["detail"]


def test_what_a_key_may_not_read_is_noted_after_the_work(guarded: Embedded, tmp_path: Path) -> None:
    for kind in range(3):
        folder = tmp_path / ("support" if kind < 2 else "more") / f"kind {kind}"
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(png(8030 + kind, 0))
    run = partial(CliRunner().invoke, app)
    made = run(["keys", "create", "dora", "--scope", "adapt", "--data-dir", str(guarded.data), "--json"])
    asked = ["--url", guarded.url, "--key", json.loads(made.stdout)["key"]]
    time.sleep(FRESH_SECONDS)
    adapted = run(["adapt", str(tmp_path / "support"), "--meta-model", "omniglot-maml", *asked, "--json"])
    assert adapted.exit_code == 0, adapted.output
    assert "quality could not be read: forbidden (403)" in json.loads(adapted.stderr)["warning"]["detail"]
    model = json.loads(adapted.stdout)["id"]
    grown = run(["models", "add", model, str(tmp_path / "more"), *asked, "--json"])
    state = json.loads(grown.stdout)
    assert (state["id"], state["version"], len(state["classes"])) == (model, 2, 3)
    assert "could not be read: forbidden (403)" in json.loads(grown.stderr)["warning"]["detail"]
    shown = run(["models", "add", model, str(tmp_path / "more"), *asked])
    assert (shown.exit_code, shown.stdout.split()[0]) == (0, model), shown.output


def test_every_operation_names_its_scope(guarded: Embedded) -> None:
    """The document says which; that it is enforced is tested above, by the same declaration."""
    document = httpx.get(f"{guarded.url}/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/v1/"):
                [wanted] = operation["security"][0]["key"]
                changes = method in ("patch", "delete") or (
                    method == "post" and not path.endswith(("/predictions", "/evaluations"))
                )
                tells = path.endswith("/preview")  # what was sent, of which a key that predicts knows nothing
                assert wanted == ("adapt" if changes or tells else "predict"), f"{method} {path}"
                assert {"401", "403"} <= set(operation["responses"])
            elif path == "/metrics":
                assert operation["security"][0]["key"] == ["admin"]
            else:
                assert "security" not in operation


def test_a_revoked_key_is_refused_within_a_second_by_every_process(guarded: Embedded, keys: Keys) -> None:
    made = keys("create", "bert")
    with holder(guarded, made["key"]) as bert:
        assert [bert.get("/v1/models").status_code for _ in range(20)] == [200] * 20
        assert keys("revoke", made["id"])["status"] == "revoked"
        time.sleep(1)
        answers = [bert.get("/v1/models") for _ in range(20)]
        for answer in answers:
            assert_problem(answer, 401, "unauthorized")
    assert keys("revoke", "key_none", expect=1)["error"]["detail"].startswith("no key")


def test_a_stream_ends_soon_after_its_key(guarded: Embedded, keys: Keys) -> None:
    """The worker sleeps, so it would have gone on."""
    made, other = keys("create", "bert"), keys("create", "bert")
    with asleep(guarded) as awake, holder(guarded, made["key"]) as bert, holder(guarded, other["key"]) as both:
        path = both.post("/v1/models", json=slow(8050), headers=ASYNC).headers["location"]
        waking = threading.Timer(30, awake.set)  # then it ends of itself
        waking.start()
        with bert.stream("GET", f"{path}/events", headers=SSE) as answer:
            assert answer.status_code == 200
            keys("revoke", made["id"])
            told = streamed(answer.iter_lines())
        waking.cancel()
        assert told[0]["status"] == "queued"
        assert both.get(path).json()["status"] == "queued"
        assert_problem(bert.get(f"{path}/events", headers=SSE), 401)
        assert both.delete(path).status_code == 204


def test_an_expired_key_is_refused(guarded: Embedded, keys: Keys) -> None:
    made = keys("create", "bert", "--days", str(5 / 86400))
    with holder(guarded, made["key"]) as bert:
        assert bert.get("/v1/models").status_code == 200
        until(lambda: bert.get("/v1/models").status_code != 200)
        assert "expired" in assert_problem(bert.get("/v1/models"), 401)["detail"]
    assert [key["status"] for key in keys("list") if key["id"] == made["id"]] == ["expired"]


@pytest.mark.parametrize("days", ["-1", "9999999", "1e400", "nan"])
def test_a_key_lives_for_a_number_of_days_that_there_is(tmp_path: Path, days: str) -> None:
    made = CliRunner().invoke(app, ["keys", "create", "bert", "--days", days, "--data-dir", str(tmp_path)])
    assert (made.exit_code, "0 to 36500 days" in made.output) == (2, True), made.output


def test_a_key_that_was_to_live_for_too_long_stops_no_list(guarded: Embedded, keys: Keys) -> None:
    with connect(records_url(guarded.settings)) as client:
        store = KeyStore(client)
        key, text = store.create("bert")
        store._write(key.model_copy(update={"expires_ms": 10**18}))
    assert [k["expires_at"][:4] for k in keys("list") if k["id"] == key.id] == ["9999"]
    with holder(guarded, text) as bert:
        assert bert.get("/v1/limits").raise_for_status().json()["key"]["expires_at"].startswith("9999")


@pytest.mark.parametrize(
    ("answer", "code", "told"), [(None, 4, "does not answer: .* name another by --data-dir"), (b"-NO\r\n", 1, "NO")]
)
def test_a_redis_that_does_not_help(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None, code: int, told: str
) -> None:
    monkeypatch.setattr(redis_store._Patience, "SECONDS", 0.1)
    with redis_that(answer) as port:
        seconds = 30 if answer else 0.2
        monkeypatch.setenv("INNERLOOP_REDIS_URL", f"redis://127.0.0.1:{port}/0?socket_timeout={seconds}")
        listed = CliRunner().invoke(app, ["keys", "list"])
    assert listed.exit_code == code
    assert re.search(told, " ".join(listed.output.split())), listed.output


@contextmanager
def redis_that(answer: bytes | None) -> Iterator[int]:
    """Something that takes connections and says the same to everything, or nothing; its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(65536):
                if answer is not None:
                    self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as silent:
        silent.daemon_threads = True
        threading.Thread(target=silent.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield silent.server_address[1]
        finally:
            silent.shutdown()


def test_the_last_use_is_known(guarded: Embedded, keys: Keys) -> None:
    made = keys("create", "bert")

    def used() -> str | None:
        return next(key["last_used_at"] for key in keys("list") if key["id"] == made["id"])

    assert used() is None
    with holder(guarded, made["key"]) as bert:
        bert.get("/v1/models")
    deadline = time.monotonic() + 30
    while used() is None:
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    "sent",
    [None, "Bearer", "Bearer wrong", "Bearer il_000000000000_wrong", "Bearer kéy", "Basic a2V5LWE="],
)
def test_no_or_wrong_key(guarded: Embedded, sent: str | None) -> None:
    headers = {} if sent is None else {"Authorization": sent.encode()}
    with httpx.Client(base_url=guarded.url, timeout=60, headers=headers) as stranger:  # pyright: ignore[reportArgumentType]
        for answer in (
            stranger.get("/v1/models"),
            stranger.get("/v1/meta-models"),
            stranger.post("/v1/models", json={}),
        ):
            assert_problem(answer, 401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert stranger.get("/healthz").status_code == 200


def test_a_key_with_another_ones_id_is_wrong(guarded: Embedded, keys: Keys) -> None:
    one, other = (keys("create", owner)["key"] for owner in ("bert", "cora"))
    mixed = one.rpartition("_")[0] + "_" + other.rpartition("_")[2]
    with holder(guarded, mixed) as stranger:
        assert_problem(stranger.get("/v1/models"), 401)


def test_keys_of_the_environment_have_every_scope(guarded: Embedded) -> None:
    with holder(guarded, "key-a") as anna:
        assert adapt(anna, drawn(2, 1, first=8030))["status"] == "ready"
        assert anna.get("/v1/limits").status_code == 200


def test_a_loopback_server_asks_for_a_key_from_its_first_one_on(tmp_path: Path) -> None:
    with Embedded(Settings(port=0, data_dir=tmp_path)) as running, holder(running, None) as anyone:
        mine = adapt(anyone, drawn(2, 1, first=8040))["id"]
        made = command(tmp_path, "create", "local")
        time.sleep(FRESH_SECONDS)
        assert_problem(anyone.get("/v1/models"), 401)
        with holder(running, made["key"]) as local:
            assert local.get(f"/v1/models/{mine}").status_code == 200
        command(tmp_path, "revoke", made["id"])
        time.sleep(FRESH_SECONDS)
        assert_problem(anyone.get("/v1/models"), 401)
    stopped = command(tmp_path, "list", expect=1)
    assert "innerloop serve" in stopped["error"]["detail"]


def test_a_public_address_asks_everyone_for_a_key(tmp_path: Path) -> None:
    with Embedded(Settings(host="0.0.0.0", port=0, data_dir=tmp_path)) as running:  # noqa: S104 - the point
        url = running.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        assert "keys create" in assert_problem(httpx.get(f"{url}/v1/models"), 401)["detail"]


@pytest.mark.parametrize("text", ["anna", "anna:abc", "an/na:" + "0" * 64])
def test_malformed_keys_of_the_environment_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="owner:sha256"):
        keys_of_settings(text)


@pytest.mark.parametrize("owner", ["", "an/na", "a" * 65])
def test_owners_must_fit_into_a_redis_key(keys: Keys, owner: str) -> None:
    assert "an owner is" in keys("create", owner, expect=1)["error"]["detail"]
