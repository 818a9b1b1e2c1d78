"""Tables of labelled files and texts as people's programs write them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from innerloop.cli.console import ExitCode
from tests.drawings import png
from tests.innerloop.conftest import Run


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"text,label\nhello,a\n\nbye, \n", "source.csv, row 4: no label"),
        (b"text,label\nhello,a\nbye\n", "source.csv, row 3: no label"),
        (b"text,label\nhello, world,a\n", "source.csv, row 2: more fields than columns"),
        (b"text;label\nhello; world;a\n", "source.csv, row 2: more fields than columns; quote what has ';' in it"),
        (b"text|label\nhello|a\n", "columns path or text, and label; its columns are text|label"),
        (b"text,label\n", "it has no rows"),
        ("text,label\ncafé,a\n".encode("latin-1"), "source.csv must be a folder of class folders, or a CSV in UTF-8"),
        (
            "text,label\nhello,a\n".encode("utf-16-le"),
            "neither UTF-8 nor UTF-16 with a byte order mark; save",
        ),
        (png(1, 1), "source.csv must be a folder of class folders, or a CSV in UTF-8"),
    ],
)
def test_a_csv_that_cannot_be_used_says_where(run: Run, tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "source.csv").write_bytes(content)
    refused = run("adapt", "source.csv", expect=ExitCode.REFUSED)
    assert says in " ".join(refused.stderr.split())


def test_a_csv_as_spreadsheets_write_it(run: Run, tmp_path: Path) -> None:
    rows = ["text, label", "hello there, a", '"hi, you",a ', "bye now, b", "", "see you,b"]
    (tmp_path / "texts.csv").write_text("\r\n".join(rows), encoding="utf-8-sig")
    model = json.loads(run("adapt", "texts.csv", "--json").stdout)
    assert [(c["name"], c["examples"]) for c in model["classes"]] == [("a", 2), ("b", 2)]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_csv_as_spreadsheets_of_other_countries_write_it(run: Run, tmp_path: Path, delimiter: str) -> None:
    rows = [("Text", "LABEL"), ("hello, there", "a"), ("bye now", "b"), ('"see you; then"', "b")]
    (tmp_path / "texts.csv").write_text("\r\n".join(delimiter.join(row) for row in rows), encoding="utf-8-sig")
    model = json.loads(run("adapt", "texts.csv", "--json").stdout)
    assert [(c["name"], c["examples"]) for c in model["classes"]] == [("a", 1), ("b", 2)]


def test_a_csv_and_texts_in_utf_16(run: Run, tmp_path: Path) -> None:
    rows = [("text", "label"), ("größe, größer", "a"), ("bye now", "b"), ("see you", "b")]
    written = "\r\n".join("\t".join(row) for row in rows)
    models = []
    for encoding in ("utf-8", "utf-16"):  # the latter as Excel writes "Unicode text"
        (tmp_path / "texts.txt").write_text(written, encoding=encoding)
        models.append(json.loads(run("adapt", "texts.txt", "--json").stdout))
    assert [(c["name"], c["examples"]) for c in models[1]["classes"]] == [("a", 1), ("b", 2)]
    assert models[1]["digest"] == models[0]["digest"]
    (tmp_path / "one.txt").write_text("größe, größer", encoding="utf-16")
    [of_file, of_word] = json.loads(run("predict", models[1]["id"], "one.txt", "größe, größer", "--json").stdout)
    assert of_file["scores"] == of_word["scores"]


def test_a_text_of_a_csv_is_never_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("of nobody else")
    (tmp_path / "texts.csv").write_text("text,label\nnotes.txt,a\nno such.png,b\n/etc/hostname,b\n")
    model = json.loads(run("adapt", "texts.csv", "--json").stdout)["id"]
    answers = json.loads(run("predict", model, "texts.csv", "--json").stdout)
    assert [answer["scores"][0]["label"] for answer in answers] == ["a", "b", "b"]
    (tmp_path / "word.csv").write_text("text\nof nobody else\n")
    [read] = json.loads(run("predict", model, "word.csv", "--json").stdout)
    assert read["scores"] != answers[0]["scores"]
    missing = run("predict", model, "no such.png", expect=ExitCode.SOME_UNREADABLE).stdout
    assert re.search(r"no such\.png +unreadable_file +No such file", missing)


def test_rows_of_a_csv_are_inputs(run: Run, support: Path, tmp_path: Path) -> None:
    model = json.loads(run("adapt", "support", "--json").stdout)["id"]
    (tmp_path / "asked.csv").write_text("path,remark\nquery-0.png,one\nquery-1.png,\n")
    answers = json.loads(run("predict", model, "asked.csv", "--json").stdout)
    assert [a["file"] for a in answers] == ["query-0.png", "query-1.png"]
    assert [a["scores"][0]["label"] for a in answers] == ["kind 0", "kind 1"]
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert "a column path or text" in run("predict", model, "other.csv", expect=ExitCode.REFUSED).stderr
