"""Promise 8: data, never code. JSON and safetensors only; Celery accepts JSON only; nothing unpickles."""

from __future__ import annotations

import ast
import pickle  # noqa: TID251 - to prove that the service does not
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from adapter.queue import celery_app
from innerloop.embedded import Embedded, Part
from tests.asking import adapt, archive_of, assert_problem, drawn, support_of
from tests.drawings import b64, png

ROOT = Path(__file__).parents[2]
UNSAFE_MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle"}
UNSAFE_CALLS = {("torch", "load"), ("builtins", "eval"), ("builtins", "exec"), ("yaml", "load")}


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    """The file that a bomb makes; that it can is tested here too."""
    pickle.loads(pickle.dumps(Touch(tmp_path / "works")))  # noqa: S301
    assert (tmp_path / "works").exists()
    return tmp_path / "executed"


@pytest.fixture
def worker(server: Embedded) -> Part:
    """The worker of the running service."""
    [worker] = [part for part in server.parts if part.name == "worker"]
    return worker


def sources() -> list[Path]:
    return [
        path for package in ("api", "adapter", "meta_models", "innerloop") for path in (ROOT / package).rglob("*.py")
    ]


def unsafe(tree: ast.AST) -> Iterator[str]:
    """What in a module can run data as code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in UNSAFE_MODULES)
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")[0]
            yield from ([module] if module in UNSAFE_MODULES else [])
            yield from (f"{module}.{a.name}" for a in node.names if (module, a.name) in UNSAFE_CALLS)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield from ([node.func.id] if ("builtins", node.func.id) in UNSAFE_CALLS else [])
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield from ([f"{node.value.id}.{node.attr}"] if (node.value.id, node.attr) in UNSAFE_CALLS else [])
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            yield from [] if isinstance(node.value, ast.Constant) and node.value.value is False else ["allow_pickle"]


UNSAFE = [
    "import pickle",
    "from pickle import loads",
    "import torch\ntorch.load('x')",
    "from torch import load",
    "eval('1')",
    "f(allow_pickle=True)",
]


@pytest.mark.parametrize("code", UNSAFE)
def test_the_scan_finds(code: str) -> None:
    assert list(unsafe(ast.parse(code)))


def test_no_source_runs_data() -> None:
    assert len(sources()) > 30
    found = {f"{p.relative_to(ROOT)}: {what}" for p in sources() for what in unsafe(ast.parse(p.read_text()))}
    assert not found


def test_nothing_published_is_a_pickle() -> None:
    published = [path for path in (ROOT / "meta_models" / "zoo").rglob("*") if path.is_file()]
    assert {path.suffix for path in published} <= {".json", ".jsonl", ".safetensors", ".onnx", ".md", ".png", ".svg"}
    # A safetensors file begins with the length of its header, in eight bytes of any value.
    starts = {path: path.read_bytes()[8 if path.suffix == ".safetensors" else 0 :][:1] for path in published}
    assert not [path for path, start in starts.items() if start == b"\x80"]
    assert {start for path, start in starts.items() if path.suffix == ".safetensors"} == {b"{"}


def test_celery_speaks_json_only() -> None:
    app = celery_app("redis://localhost:1/0", socket_timeout=1)
    assert set(app.conf.accept_content) == {"json"}
    assert app.conf.task_serializer == "json"
    assert app.conf.result_serializer == "json"
    assert app.conf.result_backend is None
    app.close()


def test_pickled_message_is_not_executed(http: httpx.Client, worker: Part, proof: Path) -> None:
    """Straight into the worker's queue, past the API, by somebody who reached the broker."""
    url = worker.environment["INNERLOOP_REDIS_URL"]
    attacker = celery_app(url, socket_timeout=5)
    attacker.conf.update(accept_content=["json", "pickle"], task_serializer="pickle")
    attacker.send_task("innerloop.adapt", args=[Touch(proof)])
    attacker.close()
    # The worker takes messages in order: once it has adapted this, it has met the other.
    adapt(http, drawn(2, 1, first=3100))
    assert not proof.exists()
    assert "Refusing to deserialize" in worker.log.read_text(errors="replace")


def test_pickled_bodies_are_not_executed(http: httpx.Client, proof: Path) -> None:
    bomb = pickle.dumps(Touch(proof))
    for content_type in ("application/x-python-serialize", "application/octet-stream", "application/x-pickle"):
        assert_problem(http.post("/v1/models", content=bomb, headers={"Content-Type": content_type}), 415)
    assert_problem(http.post("/v1/models", content=bomb, headers={"Content-Type": "application/json"}), 400)
    good = support_of(drawn(2, 1, first=3110))
    image = [*good, {"label": "c", "input": {"image": b64(bomb)}}]
    assert_problem(http.post("/v1/models", json={"support": image}), 422, "undecodable_image")
    files = {"a/0.png": png(1, 1), "b/0.png": png(2, 1), "b/1.pkl": bomb, "c/0.png": bomb}
    assert_problem(http.post("/v1/models", files=archive_of(files)), 422, "undecodable_image")
    assert_problem(http.post("/v1/models", files={"archive": ("a.zip", bomb, "application/zip")}), 422)
    model = adapt(http, drawn(2, 1, first=3110))["id"]
    [result] = http.post(f"/v1/models/{model}/predictions", files={"inputs": ("q", bomb)}).json()["results"]
    assert result["error"]["code"] == "undecodable_image"
    assert not proof.exists()


def test_stored_records_and_weights_are_not_pickles(http: httpx.Client, worker: Part) -> None:
    adapt(http, drawn(2, 1, first=3120))
    for url in ("INNERLOOP_REDIS_URL", "INNERLOOP_WEIGHTS_REDIS_URL"):
        with redis.Redis.from_url(worker.environment[url]) as client:
            values = [v for key in client.scan_iter(count=1000) for v in stored(client, key)]
        assert values
        assert not [v[:20] for v in values if v[:1] == b"\x80" and v[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")]


def stored(client: redis.Redis, key: bytes) -> list[bytes]:
    """The values under a key, whatever its type."""
    kind = client.type(key)
    if kind == b"string":
        return [client.get(key) or b""]
    if kind == b"hash":
        return list(client.hgetall(key).values())
    return []
