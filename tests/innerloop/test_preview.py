"""`innerloop preview`: what a meta-model sees, in the terminal, without a server."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from innerloop.cli import app
from innerloop.cli.console import ExitCode
from innerloop.cli.preview import drawn
from innerloop.seen import look
from meta_models.catalogue import Catalogue
from meta_models.inputs import UnreadableInput
from tests.drawings import png
from tests.photos import jpeg
from tests.sounds import wav
from tests.vectors import npy


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One file of each kind, and two that cannot be read."""
    monkeypatch.chdir(tmp_path)
    files = {"a.png": png(1, 0), "b.jpg": jpeg(1, 0), "c.wav": wav(1), "d.npy": npy([1.0, -2.0, 3.0])}
    files |= {"e.txt": b"please refund me " * 60, "torn.png": png(1, 0)[:50]}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def run(*arguments: str, expect: int = 0) -> str:
    ran = CliRunner().invoke(app, ["preview", *arguments], env={"COLUMNS": "100"})
    assert ran.exit_code == expect, ran.output
    return ran.stdout


def found(*arguments: str, expect: int = 0) -> list[dict[str, Any]]:
    return json.loads(run(*arguments, "--json", expect=expect))


def test_each_kind_is_seen_by_the_best_of_its_own() -> None:
    best = Catalogue().aliases
    results = found("a.png", "b.jpg", "c.wav", "d.npy", "e.txt", "where is my card")
    wanted = [best[kind] for kind in ("drawing", "photo", "sound", "vector", "text", "text")]
    assert [r["meta_model"].split("@")[0] for r in results] == wanted
    words = [r["words"] for r in results]
    for part, told in zip(("28×28", "32×32", "mel bands", "3 dimensions, norm 3.742"), words[:4], strict=True):
        assert part in told
    assert "more tokens are cut" in words[4]
    assert words[5].splitlines()[0] == "where is my card"
    assert "cut" not in words[5]


def test_it_is_drawn_with_characters_where_there_are_no_colours() -> None:
    shown = run("a.png", "c.wav", "where is my card")
    assert shown.index("a.png") < shown.index("28×28") < shown.index("c.wav") < shown.index("where is my card")
    lines = shown[shown.index("\n") : shown.index("28×28")].strip("\n").split("\n")
    assert len(lines) == 14
    assert {len(line) for line in lines} == {28}
    assert set("".join(lines)) & set("▒▓█")


def test_colours_are_those_of_the_pixels() -> None:
    pixels = np.arange(3 * 4 * 3, dtype=np.uint8).reshape(3, 4, 3) * 7
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=40, no_color=False)
    text = drawn(pixels, console)
    assert text.plain == "▀▀▀▀\n▀▀▀▀\n"
    [cells] = [[span.style for span in text.spans]]
    above = [tuple(style.color.triplet) for style in cells]
    below = [tuple(style.bgcolor.triplet) for style in cells]
    assert above == [tuple(p) for p in pixels[[0, 2]].reshape(-1, 3).tolist()]
    assert below == [tuple(p) for p in pixels[1].tolist()] + [(0, 0, 0)] * 4


def test_what_is_wider_than_the_terminal_is_shrunk() -> None:
    console = Console(file=io.StringIO(), width=20)
    lines = drawn(np.full((64, 80), 255, np.uint8), console).plain.splitlines()
    assert lines == ["█" * 20] * 8


def test_pictures_are_saved_beside_one_another(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "a.png").write_bytes(png(2, 0))
    results = found("a.png", "other/a.png", "c.wav", "a text", "--save", "seen")
    saved = [Path(r["picture"]) for r in results[:3]]
    assert [path.name for path in saved] == ["a.preview.png", "a-2.preview.png", "c.preview.png"]
    assert "picture" not in results[3]
    assert len({path.read_bytes() for path in saved}) == 3
    with Image.open(saved[2]) as picture:
        assert picture.size == (310, 160)
    assert (folder / "a.png").read_bytes() == png(1, 0)


def test_no_input_is_written_over(folder: Path) -> None:
    (folder / "a.preview.png").write_bytes(png(3, 0))
    results = found("a.png", "a.preview.png", "--save", ".")
    assert [Path(r["picture"]).name for r in results] == ["a-2.preview.png", "a.preview.preview.png"]
    assert (folder / "a.preview.png").read_bytes() == png(3, 0)


def test_what_cannot_be_read_names_itself_and_the_rest_is_shown() -> None:
    given = ("torn.png", "absent.png", "a.png")
    torn, absent, good = found(*given, expect=ExitCode.SOME_UNREADABLE)
    assert (torn["file"], torn["error"]["code"]) == ("torn.png", "undecodable_image")
    assert (absent["file"], absent["error"]["code"]) == ("absent.png", "unreadable_file")
    assert "words" in good
    shown = run(*given, expect=ExitCode.SOME_UNREADABLE)
    assert "torn.png  undecodable_image" in shown
    assert "28×28" in shown


def test_a_text_that_is_not_utf8_is_named() -> None:
    broken, good = found("caf\udce9", "where is my card", expect=ExitCode.SOME_UNREADABLE)
    assert (broken["file"], broken["error"]["code"]) == (r"caf\udce9", "undecodable_text")
    assert "words" in good
    assert "not UTF-8" in run("caf\udce9", expect=ExitCode.SOME_UNREADABLE)


def test_a_table_without_inputs_is_told(folder: Path) -> None:
    (folder / "bad.csv").write_text("a,b\n1,2\n")
    told = CliRunner().invoke(app, ["preview", "bad.csv", "--json"])
    assert told.exit_code == ExitCode.REFUSED
    assert "its columns are a, b" in json.loads(told.stderr)["error"]["detail"]


def test_a_meta_model_can_be_named() -> None:
    [coloured, grey] = [found("a.png", "--meta-model", name)[0] for name in ("photo-conv4", "drawing")]
    assert coloured["meta_model"].startswith("photo-conv4@")
    assert "32×32" in coloured["words"]
    assert "28×28" in grey["words"]
    [wrong] = found("a text", "--meta-model", "photo", expect=ExitCode.SOME_UNREADABLE)
    assert wrong["error"]["code"] == "wrong_modality"
    run("a.png", "--meta-model", "absent", expect=ExitCode.REFUSED)
    with pytest.raises(UnreadableInput, match="not a sound"):
        look(Catalogue(), "a.png", "sound")


def test_it_needs_no_torch() -> None:
    program = "import sys; from innerloop.cli import app; app(['preview', 'c.wav'], standalone_mode=False)"
    program += "; print('torch' in sys.modules, 'onnxruntime' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False False"
