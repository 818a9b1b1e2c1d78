"""Examples in the docs run as they are written, against the session's server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from innerloop.client import DEFAULT_URL
from innerloop.embedded import Embedded

ROOT = Path(__file__).parent.parent
PAGES = ("one-file-app.md", "quickstart-drawings.md", "cookbook.md")


def examples(page: str) -> list[tuple[str, str]]:
    """(language, code) of each fenced block, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_examples_run(page: str, server: Embedded, tmp_path: Path) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # noqa: TID251 - the commands under test inherit it
    environment = {
        **os.environ,  # noqa: TID251
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "INNERLOOP_URL": server.url,
    }
    found = examples(page)
    assert len(found) >= 3
    assert {language for language, _ in found} <= {"sh", "python"}
    for number, (language, code) in enumerate(found, 1):
        command = ["bash", "-euo", "pipefail", "-c"] if language == "sh" else [sys.executable, "-c"]
        ran = subprocess.run(
            [*command, code.replace(DEFAULT_URL, server.url)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"example {number} of {page}:\n{code}\n{ran.stdout}\n{ran.stderr}"


def test_the_one_file_app_is_short() -> None:
    """Under 20 lines of Python, empty ones included; the same with curl."""
    programs = dict(reversed(examples("one-file-app.md")))
    programs["sh"] = examples("one-file-app.md")[-1][1]
    assert {language: len(code.splitlines()) < 20 for language, code in programs.items()} == {
        "python": True,
        "sh": True,
    }
