"""Examples in the docs run as they are written, against the session's server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from codeop import compile_command
from pathlib import Path

import pytest

from adapter.config import Settings
from innerloop.client import DEFAULT_URL
from innerloop.embedded import Embedded
from tests import encoders

ROOT = Path(__file__).parent.parent
PAGES = (
    "one-file-app.md",
    "quickstart-drawings.md",
    "quickstart-photos.md",
    "quickstart-sounds.md",
    "quickstart-text.md",
    "quickstart-vectors.md",
    "cookbook.md",
)


def examples(page: str) -> list[tuple[str, str]]:
    """(language, code) of each fenced block, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_examples_run(page: str, server: Embedded, tmp_path: Path) -> None:
    assert run(page, server.url, tmp_path) >= 3


def test_examples_of_keys_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a server of their own, whose data folder is where the commands look for it."""
    monkeypatch.setenv("INNERLOOP_WEBHOOK_NETWORKS", "127.0.0.1")
    with Embedded(Settings(port=0, data_dir=tmp_path / ".innerloop")) as running:
        assert run("keys.md", running.url, tmp_path) == 2


@pytest.mark.slow
def test_examples_of_own_encoders_run(tmp_path: Path) -> None:
    """The files that the page takes for granted are there, as few as will do; a server reads its meta-models when it
    starts."""
    encoders.photos(tmp_path / "photos", 18, 6)
    encoders.photos(tmp_path / "new-classes", 3, 4)
    encoders.text_encoder(tmp_path / "my-text-encoder")
    encoders.texts(tmp_path / "tickets.csv", 6)
    assert run("own-encoder.md", DEFAULT_URL, tmp_path, slice(0, 2)) == 2
    settings = Settings(port=0, data_dir=tmp_path / "data", meta_models_dir=tmp_path / "meta-models")
    with Embedded(settings) as running:
        assert run("own-encoder.md", running.url, tmp_path, slice(2, None)) == 2


def run(page: str, url: str, tmp_path: Path, which: slice = slice(None)) -> int:
    """Run a page's examples in order, or `which` of them, against the server at `url`; how many there are."""
    if not (tmp_path / "docs").exists():
        (tmp_path / "docs").symlink_to(ROOT / "docs")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # noqa: TID251 - the commands under test inherit it
    environment = {
        **os.environ,  # noqa: TID251
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "INNERLOOP_URL": url,
    }
    found = examples(page)[which]
    assert {language for language, _ in found} <= {"sh", "python"}
    for number, (language, code) in enumerate(found, 1):
        command = ["bash", "-euo", "pipefail", "-c"] if language == "sh" else [sys.executable, "-c"]
        ran = subprocess.run(
            [*command, code.replace(DEFAULT_URL, url)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"example {number} of {page}:\n{code}\n{ran.stdout}\n{ran.stderr}"
    return len(found)


@pytest.mark.parametrize("page", [*PAGES, "keys.md", "own-encoder.md", "../README.md"])
def test_examples_can_be_pasted(page: str) -> None:
    """Into the prompt of Python up to 3.12, which wants an empty line after the body of what is indented, and into the
    shell of a Mac, whose `base64` has no `-w`."""
    for language, code in examples(page):
        assert language != "sh" or "base64 -" not in code
        lines: list[str] = []
        for line in [*code.splitlines(), ""] if language == "python" else []:
            lines.append(line)
            if compile_command("\n".join(lines), symbol="single"):
                lines.clear()
        assert not any(lines)


def test_the_one_file_app_is_short() -> None:
    """Under 20 lines of Python, empty ones included; the same with curl."""
    programs = dict(reversed(examples("one-file-app.md")))
    programs["sh"] = examples("one-file-app.md")[-1][1]
    assert {language: len(code.splitlines()) < 20 for language, code in programs.items()} == {
        "python": True,
        "sh": True,
    }
