"""A process that `innerloop serve` keeps running: its log, how it ended, how it is stopped."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LOG_BYTES = 10 * 2**20
"""A log that grows longer is set aside as `.log.1`."""

STOP_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


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
        """Begin, or begin anew.

        Raises:
            OSError: its log cannot be written, or there is no room for one more process.
        """
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own commands
                self.command,
                env={**os.environ, **self.environment},  # noqa: TID251 - handed on, not read
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def is_dead(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def how_it_ended(self) -> str:
        code = self.process.returncode if self.process else 0
        return f"was ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with code {code}"

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """End it and its children: those of a killed process live on, and keep its port."""
        if self.process:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def log_tail(self, lines: int = 15) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError as error:
            return str(error)

    def bound_log(self) -> None:
        """Set a log that grew too long aside. Who writes it only ever appends, so goes on in the emptied file."""
        with suppress(OSError):
            if self.log.stat().st_size <= LOG_BYTES:
                return
            try:
                shutil.copyfile(self.log, f"{self.log}.1")
            finally:  # where the disk is full, too
                os.truncate(self.log, 0)


def _die_with_parent() -> None:
    """Runs in the child: end when the supervisor does, even by kill -9."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
