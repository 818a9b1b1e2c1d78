"""Examples in the docs run as they are written, against the session's server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from codeop import compile_command
from pathlib import Path

import pytest

from adapter.config import Settings
from innerloop.client import DEFAULT_URL
from innerloop.embedded import Embedded
from tests import encoders
from tests.drawings import png

ROOT = Path(__file__).parent.parent
PAGES = (
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
    assert len(run(page, server.url, tmp_path)) >= 3


def test_the_one_file_app_takes_files_as_they_are(server: Embedded, tmp_path: Path) -> None:
    for folder in ("labelled/a=b", "unsorted/older"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "labelled" / "a=b" / "1.png").write_bytes(png(1, 1))
    shutil.copy(ROOT / "docs/drawings/loop-2.png", tmp_path / "unsorted" / "loop, the second; again.png")
    (tmp_path / "unsorted" / "bad.png").write_bytes(b"no picture")
    _, python, shell = run("one-file-app.md", server.url, tmp_path)
    for told, folder in ((python, "unsorted/"), (shell, "")):
        bad, *good = told.splitlines()
        assert re.match(f"{folder}bad.png .*image", bad)
        assert [line.removeprefix(folder).partition(".png ")[0] for line in good] == [
            "loop, the second; again",
            "loop-2",
            "zig-2",
        ]
    for i in range(1000):
        (tmp_path / "unsorted" / f"{i}.png").touch()
    asked = execute("sh", examples("one-file-app.md")[-1][1], server.url, tmp_path)
    assert (asked.returncode, asked.stderr.strip()) == (1, "at most 1000 inputs a request, found 1004")


def test_previews_keep_to_their_folder(
    server: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the classes are called, one file an example."""
    [code] = [code for _, code in examples("cookbook.md") if "client.preview(" in code]
    monkeypatch.chdir(tmp_path)
    labels = {"loop-1": "../up", "loop-2": "../up", "zig-1": "a/b", "zig-2": "a/b"}
    drawings = [(label, str(ROOT / f"docs/drawings/{name}.png")) for name, label in labels.items()]
    texts = [("up", {"text": "going up"}), ("down", {"text": "going down"})]
    for support, ending in ((drawings, ".png"), (texts, ".txt")):
        changed = re.sub(r"adapt\(.*\)", f"adapt({support})", code).replace(DEFAULT_URL, server.url)
        exec(changed, {})  # noqa: S102 - the page's own, without another Python's start
        files = {Path(line.split()[0]) for line in capsys.readouterr().out.splitlines()}
        assert len([file for file in files if file.is_file() and file.suffix == ending]) == len(support)
    assert len(list(tmp_path.iterdir())) == 2


def test_examples_of_keys_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a server of their own, whose data folder is where the commands look for it."""
    monkeypatch.setenv("INNERLOOP_WEBHOOK_NETWORKS", "127.0.0.1")
    with Embedded(Settings(port=0, data_dir=tmp_path / ".innerloop")) as running:
        assert len(run("keys.md", running.url, tmp_path)) == 2


@pytest.mark.slow
def test_examples_of_own_encoders_run(tmp_path: Path) -> None:
    """The files that the page takes for granted are there, as few as will do; a server reads its meta-models when it
    starts."""
    encoders.photos(tmp_path / "photos", 18, 6)
    encoders.photos(tmp_path / "new-classes", 3, 4)
    encoders.text_encoder(tmp_path / "my-text-encoder")
    encoders.texts(tmp_path / "tickets.csv", 6)
    assert len(run("own-encoder.md", DEFAULT_URL, tmp_path, slice(0, 2))) == 2
    settings = Settings(port=0, data_dir=tmp_path / "data", meta_models_dir=tmp_path / "meta-models")
    with Embedded(settings) as running:
        assert len(run("own-encoder.md", running.url, tmp_path, slice(2, None))) == 2


def run(page: str, url: str, tmp_path: Path, which: slice = slice(None)) -> list[str]:
    """Run a page's examples in order, or `which` of them, against the server at `url`; what each printed."""
    if not (tmp_path / "docs").exists():
        (tmp_path / "docs").symlink_to(ROOT / "docs")
    found, printed = examples(page)[which], list[str]()
    assert {language for language, _ in found} <= {"sh", "python"}
    for number, (language, code) in enumerate(found, 1):
        ran = execute(language, code, url, tmp_path)
        assert ran.returncode == 0, f"example {number} of {page}:\n{code}\n{ran.stdout}\n{ran.stderr}"
        printed.append(ran.stdout)
    return printed


def execute(language: str, code: str, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run an example in a folder, against the server at `url`."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # noqa: TID251 - the commands under test inherit it
    environment = {
        **os.environ,  # noqa: TID251
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "INNERLOOP_URL": url,
    }
    command = ["bash", "-euo", "pipefail", "-c"] if language == "sh" else [sys.executable, "-c"]
    return subprocess.run(
        [*command, code.replace(DEFAULT_URL, url)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("page", [*PAGES, "one-file-app.md", "keys.md", "own-encoder.md", "../README.md"])
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
