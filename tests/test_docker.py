"""The images and the compose file, as far as they can be checked without an engine; `make containers` wants one."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.celery_worker import _name
from adapter.config import Settings
from adapter.store import Records, connect
from innerloop.embedded import redis_server
from tests.faults.victim import until
from tests.local_server import listening

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
STAGES = {
    text.split(maxsplit=3)[2].strip(): re.sub(r"\\\n\s*", "", text)
    for text in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
}
IMAGES = [name for name in STAGES if name != "base"]


def extras(stage: str) -> set[str]:
    return {name for group in re.findall(r"\./\[([\w,]+)\]", STAGES[stage]) for name in group.split(",")}


def test_each_image_installs_its_own_extras() -> None:
    wanted = {"api": {"cpu"}, "worker-cpu": {"cpu", "worker"}, "worker-cuda": {"gpu", "worker"}}
    assert {name: extras(name) for name in IMAGES} == wanted
    assert "torch" not in STAGES["base"] + STAGES["api"]


@pytest.mark.parametrize("stage", [name for name in IMAGES if name != "api"])
def test_workers_install_the_torch_of_the_project(stage: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert re.findall(r'"(torch[^"]+)"', STAGES[stage]) == project["optional-dependencies"]["worker"]


@pytest.mark.parametrize("stage", IMAGES)
def test_images_run_without_root_and_report_their_health(stage: str) -> None:
    users = re.findall(r"^USER (\S+)", STAGES[stage], flags=re.MULTILINE)
    assert users
    assert int(users[-1]) > 0
    assert re.search(r"^HEALTHCHECK .*CMD \[", STAGES[stage], flags=re.MULTILINE)
    assert re.search(r'^CMD \["innerloop", "(api|worker)"\]', STAGES[stage], flags=re.MULTILINE)


def test_base_images_are_pinned() -> None:
    images = [service["image"] for service in COMPOSE["services"].values()]
    images += [image for image in re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE) if image != "base"]
    for image in images:
        assert re.search(r":\d", image), image


def test_everything_an_image_needs_reaches_the_build() -> None:
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {"pyproject.toml", "README.md", "api", "adapter", "meta_models", "innerloop"} <= admitted
    assert all((ROOT / path).exists() for path in admitted)
    for path in re.findall(r"docker/[\w.]+\.py", DOCKERFILE):
        assert path in admitted


def test_compose_names_only_settings_that_exist() -> None:
    known = {f"INNERLOOP_{name.upper()}" for name in Settings.model_fields}
    for text in (DOCKERFILE, (DOCKER / "compose.yaml").read_text()):
        named = set(re.findall(r"INNERLOOP_[A-Z_]+", text))
        assert named
        assert named <= known


def test_compose_builds_stages_that_exist() -> None:
    built = [service["build"] for service in COMPOSE["services"].values() if "build" in service]
    assert {build["target"] for build in built} == set(IMAGES)
    for build in built:
        assert (DOCKER / build["context"] / build["dockerfile"]).samefile(DOCKER / "Dockerfile")


@pytest.mark.parametrize(
    ("role", "policy", "append_only"),
    [("redis-records", "noeviction", "yes"), ("redis-weights", "allkeys-lru", "no")],
)
def test_each_redis_keeps_what_its_role_asks(role: str, policy: str, append_only: str) -> None:
    service = COMPOSE["services"][role]
    words = [*service["entrypoint"], *service["command"]]
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--maxmemory-policy"] == policy
    assert options["--appendonly"] == append_only
    assert "--maxmemory" in options
    assert options["--protected-mode"] == "no"  # else a Redis without this in its image answers its own container alone
    volumes = [volume.split(":")[0] for volume in service.get("volumes", [])]
    assert volumes == (["records"] if append_only == "yes" else [])


def test_only_the_proxy_is_reachable() -> None:
    for name, service in COMPOSE["services"].items():
        assert ("ports" in service) == (name == "proxy")
        networks = {network for network in service["networks"] if not (COMPOSE["networks"][network] or {})}
        assert networks == ({"outside"} if name == "proxy" else set())
    assert not {"records", "weights"} & set(COMPOSE["services"]["proxy"]["networks"])


def test_no_redis_can_take_the_address_of_the_other() -> None:
    networks = [set(COMPOSE["services"][role]["networks"]) for role in ("redis-records", "redis-weights")]
    assert not networks[0] & networks[1]


def test_services_are_hardened() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_services_come_back_after_a_crash_of_the_engine() -> None:
    assert {service["restart"] for service in COMPOSE["services"].values()} == {"always"}


def test_the_api_does_not_start_without_keys() -> None:
    assert COMPOSE["services"]["api"]["environment"]["INNERLOOP_API_KEYS"].startswith("${INNERLOOP_API_KEYS:?")


def test_trying_the_containers_waits_for_a_worker_that_comes_back(tmp_path: Path) -> None:
    (tmp_path / "docker").symlink_to("/bin/true")
    asked, zig, loop = Counter[str](), '"id":"zig-2.png","label":"zig"', '"id":"loop-2.png","label":"loop"'

    def answer(method: str, path: str, sent: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        asked[path] += 1
        if path.endswith("/predictions") and asked[path] == 2:  # the first one after the kill
            return 503, {"Retry-After": "1"}, b'{"code":"no_worker"}'
        return 200, {}, f'{{"id":"mdl_0a","results":[{{{zig}}},{{{loop}}}]}}'.encode()

    with listening(answer) as port:
        path = f"{tmp_path}:{os.environ['PATH']}"  # noqa: TID251 - the commands of the script
        environment = {"PATH": path, "PUBLISH": f"127.0.0.1:{port}"}
        ran = subprocess.run([DOCKER / "try.sh"], env=environment, capture_output=True, text=True)
    assert ran.stdout.endswith("containers: all well\n"), ran.stdout + ran.stderr
    assert asked["/v1/models/mdl_0a/predictions"] == 3


@pytest.fixture
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("redis")
    path = folder / "redis.sock"
    command = [redis_server(), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        until(path.exists)
        yield f"unix://{path}"
        process.terminate()


def test_a_worker_is_healthy_while_a_process_of_its_container_beats(redis_url: str) -> None:
    def check() -> int:
        script, environment = DOCKER / "worker_health.py", {"INNERLOOP_REDIS_URL": redis_url, "PYTHONPATH": str(ROOT)}
        return subprocess.run([sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL).returncode

    with connect(redis_url) as client:
        records = Records(client, Settings())
        assert check() == 1
        records.beat("another-host:1")
        records.beat(f"{socket.gethostname()}:{2**22 + 1}")  # no such process: above the kernel's limit
        assert check() == 1
        records.beat(_name())
        assert check() == 0
