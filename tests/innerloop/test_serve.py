"""`innerloop serve` and `api` where they cannot start or go on, where an API is, and how long logs grow."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from adapter.config import Settings
from adapter.redis_store import connect
from innerloop import embedded
from innerloop.cli.console import ExitCode
from innerloop.embedded import Embedded, ServeError, _wait_for_redis, redis_server
from innerloop.part import Part
from meta_models.catalogue import ZOO
from tests.faults.victim import until
from tests.local_server import listening

NOBODY = "redis://127.0.0.1:1/0"


def environment(settings: dict[str, str]) -> dict[str, str]:
    given = {f"INNERLOOP_{name}": value for name, value in settings.items()}
    return {"PYTHONPATH": str(Path(embedded.__file__).parents[1]), "COLUMNS": "1000", **given}


def refused(tmp_path: Path, *arguments: str, script: str = "", command: str = "serve", **settings: str) -> str:
    """What a command says, in a line, before it starts anything."""
    code = f"{script}\nfrom innerloop.cli import app\napp([{command!r}, *{arguments}])"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == ExitCode.REFUSED, ran.stderr
    [line] = ran.stderr.splitlines()
    return line


@pytest.mark.parametrize("folder", ["file", "file/below", "/proc/none"])
def test_a_folder_that_cannot_hold_the_data(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    line = refused(tmp_path, "--port", "0", "--data-dir", folder)
    assert str(tmp_path / folder) in line
    assert line.endswith("choose another --data-dir")


def test_keys_in_a_folder_of_another_user(tmp_path: Path) -> None:
    mine = "from pathlib import Path\ndef denied(path): raise PermissionError(13, 'Permission denied', str(path))"
    told = refused(tmp_path, "list", script=f"{mine}\nPath.is_symlink = denied", command="keys", DATA_DIR=str(tmp_path))
    assert "records.sock is another user's" in told


def test_what_a_killed_api_counted_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / f"{embedded.METRICS}left").mkdir()
    running = Embedded(Settings(port=0, data_dir=tmp_path))
    running._lock_data_dir()
    running.__exit__()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_damaged_file_of_a_packaged_meta_model(tmp_path: Path) -> None:
    shutil.copytree(ZOO / "vector-ridge", tmp_path / "zoo" / "vector-ridge")
    head = tmp_path / "zoo" / "vector-ridge" / "head.onnx"
    head.write_bytes(head.read_bytes() + b"\0")
    script = f"from pathlib import Path\nimport meta_models.catalogue as c\nc.ZOO = Path({str(tmp_path / 'zoo')!r})"
    assert f"{head} is not the published one" in refused(tmp_path, "--port", "0", script=script)
    assert not (tmp_path / ".innerloop").exists()


@pytest.mark.parametrize("host", ["999.1.1.1", "nosuch.invalid", "192.0.2.1", "::2"])
def test_an_address_that_cannot_be_listened_on(tmp_path: Path, host: str) -> None:
    with pytest.raises(ServeError, match=rf"cannot listen on {host}:0: .*; choose another host"):
        Embedded(Settings(host=host, port=0, data_dir=tmp_path)).__enter__()


def test_a_port_that_another_listens_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused(tmp_path, command="api", PORT=port, REDIS_URL=NOBODY)
    assert f"cannot listen on 127.0.0.1:{port}" in line
    assert line.endswith("choose another port")


def test_an_api_says_where_it_is(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "innerloop", "api"]
    settings = environment({"PORT": "0", "REDIS_URL": NOBODY})
    with subprocess.Popen(command, cwd=tmp_path, env=settings, stderr=subprocess.PIPE, text=True) as api:
        try:
            assert api.stderr is not None
            found = re.search(r"INFO \d+ innerloop.api: starting at http://127.0.0.1:(\d+)$", api.stderr.readline())
            assert found is not None
            assert int(found[1]) > 0
        finally:
            api.terminate()


@pytest.mark.parametrize("port", [99_999, -1])
def test_a_port_that_is_none(port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        Settings(port=port)


def test_it_ends_where_the_parts_are_watched_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(part: Part) -> bool:
        raise RuntimeError("no more")

    monkeypatch.setattr(Part, "is_dead", broken)
    running = Embedded(Settings(port=0, data_dir=tmp_path))
    running.parts = [Part("api", ["false"], tmp_path / "api.log")]
    threading.Thread(target=running._watch, daemon=True).start()
    with pytest.raises(ServeError, match="no more"):
        running.wait()
    running.__exit__()


def starting(tmp_path: Path, port: int, script: str) -> str:
    """What is said of a worker that runs `script` while it is waited for."""
    running = Embedded(Settings(port=port, data_dir=tmp_path))
    running._add(Part("worker", ["sh", "-c", script], running._log("worker")))
    until(lambda: running._log("worker").stat().st_size > 0)
    threading.Thread(target=running._watch, daemon=True).start()
    with pytest.raises(ServeError) as told:
        running._wait_until_ready()
    running.__exit__()
    return str(told.value)


def test_a_part_that_does_not_start_says_why(tmp_path: Path) -> None:
    with listening(lambda *_: (503, {}, b"")) as port:
        said = starting(tmp_path, port, "echo no GPU; exit 1")
    assert said == f"worker does not start; its log {tmp_path / 'logs' / 'worker.log'} ends:\nno GPU\nno GPU"


def test_what_is_not_ready_in_time_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "READY_SECONDS", 0.3)
    with listening(lambda *_: (503, {}, b'{"status": "not_ready"}')) as port:
        said = starting(tmp_path, port, "echo no Redis; exec sleep 60")
    assert said.startswith(f'not ready after 0.3 s; http://127.0.0.1:{port}/readyz says {{"status": "not_ready"}}')
    assert said.endswith("worker.log ends:\nno Redis")


def test_a_redis_that_reads_its_file_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However long: it listens, so it starts."""
    monkeypatch.setattr(embedded, "FILE_SECONDS", 0.3)
    (tmp_path / "appendonly.aof").write_bytes(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n" * 3)
    path = tmp_path / "redis.sock"
    slow = ["--appendonly", "yes", "--key-load-delay", "300000", "--dir", str(tmp_path)]
    part = Part("redis", [redis_server(), "--port", "0", "--unixsocket", str(path), *slow], tmp_path / "redis.log")
    part.start()
    try:
        with caplog.at_level("INFO"):
            _wait_for_redis(path, part)
        assert connect(f"unix://{path}").get("a") == b"b"
        assert caplog.text.count("redis is reading its file") == 1
    finally:
        part.kill()
    monkeypatch.setattr(embedded, "REDIS_SECONDS", 0.3)
    with pytest.raises(ServeError, match="did not start"):
        _wait_for_redis(path, part)


def test_a_log_that_grew_too_long_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("innerloop.part.LOG_BYTES", 9)
    script = "echo 123456789; while [ ! -e go ]; do sleep 0.05; done; echo after"
    part = Part("talker", ["sh", "-c", f"cd {tmp_path} && {script}"], tmp_path / "logs" / "talker.log")
    part.start()
    until(lambda: part.log.stat().st_size == 10)
    part.bound_log()
    (tmp_path / "go").touch()
    until(part.is_dead)
    assert part.log.read_text() == "after\n"
    assert part.log.with_suffix(".log.1").read_text() == "123456789\n"
    part.bound_log()
    assert part.log.exists()
