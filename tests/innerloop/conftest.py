"""The command line, as scripts run it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from innerloop.embedded import Embedded
from tests.drawings import png

ROOT = Path(__file__).parent.parent.parent
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(server: Embedded, tmp_path: Path) -> Run:
    """`innerloop` with arguments, from the folder `tmp_path`, against the session's server."""

    def innerloop(
        *arguments: str, expect: int = 0, url: str = server.url, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        common = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "COLUMNS": "200"}
        environment = {**common, "INNERLOOP_URL": url, **settings}
        ran = subprocess.run(
            [sys.executable, "-m", "innerloop", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == expect, f"{arguments}\n{ran.stdout}\n{ran.stderr}"
        return ran

    return innerloop


@pytest.fixture
def support(tmp_path: Path) -> Path:
    """Three classes of two drawings, and a drawing of each to ask about beside them."""
    for kind in range(3):
        folder = tmp_path / "support" / f"kind {kind}"
        folder.mkdir(parents=True)
        for example in range(2):
            (folder / f"{example}.png").write_bytes(png(6000 + kind, example))
        (tmp_path / f"query-{kind}.png").write_bytes(png(6000 + kind, 50))
    return tmp_path / "support"
