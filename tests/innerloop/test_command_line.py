"""The command line as scripts see it: exit codes, JSON, files in and out."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from innerloop import Client
from innerloop.cli import app
from innerloop.cli.console import ExitCode
from innerloop.cli.doubts import named
from innerloop.cli.examples import Example
from innerloop.client import read_folder
from innerloop.embedded import Embedded
from meta_models.catalogue import ZOO
from meta_models.recipe import RECIPES
from tests.drawings import png
from tests.innerloop.conftest import ROOT, Run

QUERIES = ("query-0.png", "query-1.png", "query-2.png")


def best(results: list[dict[str, Any]]) -> list[str]:
    return [r["scores"][0]["label"] for r in results]


def test_a_model_leaves_the_server_and_answers_the_same(run: Run, support: Path, tmp_path: Path) -> None:
    model = json.loads(run("adapt", "support", "--json").stdout)
    asked = json.loads(run("predict", model["id"], *QUERIES, "--json").stdout)
    assert best(asked) == ["kind 0", "kind 1", "kind 2"]
    written = json.loads(run("export", model["id"], "-o", "lines.onnx", "--json").stdout)
    assert written["bytes"] == (tmp_path / "lines.onnx").stat().st_size
    offline = json.loads(run("predict", "--onnx", "lines.onnx", *QUERIES, "--json", url="http://127.0.0.1:1").stdout)
    for there, here in zip(asked, offline, strict=True):
        assert {k: v for k, v in here.items() if k in ("file", "label", "rejected")} == {
            k: v for k, v in there.items() if k in ("file", "label", "rejected")
        }
        assert here["confidence"] == pytest.approx(there["confidence"], abs=1e-5)
    run("export", model["id"], "-o", "lines.safetensors")
    assert (tmp_path / "lines.safetensors").stat().st_size > 100
    shown = run("predict", "--onnx", "lines.onnx", *QUERIES).stdout
    assert re.search(r"query-1\.png.*kind 1", shown)


@pytest.mark.slow  # the cookbook's examples export one without steps
def test_an_adapting_graph_answers_as_the_server(run: Run, support: Path) -> None:
    # Every step is traced for itself, and fewest weights are in those of a head.
    meta_model, steps = "omniglot-anil", ("--inner-steps", "2")
    report = json.loads(run("export", "--adapting", meta_model, *steps, "-o", "adapting.onnx", "--json").stdout)
    assert report["parity"]["max_difference"] <= 1e-4
    question = ("--support", "support", *QUERIES, "--json")
    here = json.loads(run("classify", "--onnx", "adapting.onnx", *question, url="http://127.0.0.1:1").stdout)
    there = json.loads(run("classify", "--meta-model", meta_model, *steps, *question).stdout)
    for mine, served in zip(here, there, strict=True):
        assert mine["label"] == served["label"]
        ours = {s["label"]: s["probability"] for s in mine["scores"]}
        theirs = {s["label"]: s["probability"] for s in served["scores"]}
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_exit_codes(run: Run, support: Path, tmp_path: Path) -> None:
    model = json.loads(run("adapt", "support", "--json").stdout)["id"]
    (tmp_path / "torn.png").write_bytes(png(1, 1)[:50])
    run("export", model, "-o", "lines.onnx")
    for how in ((model,), ("--onnx", "lines.onnx")):
        mixed = run("predict", *how, "query-0.png", "torn.png", "--json", expect=ExitCode.SOME_UNREADABLE)
        good, bad = json.loads(mixed.stdout)
        assert good["scores"][0]["label"] == "kind 0"
        assert bad["error"]["code"] == "undecodable_image"
        mixed = run("predict", *how, "absent.png", "query-0.png", "support", "--json", expect=ExitCode.SOME_UNREADABLE)
        absent, good, folder = json.loads(mixed.stdout)
        assert good["scores"][0]["label"] == "kind 0"
        assert [absent["error"]["code"], folder["error"]["code"]] == ["unreadable_file"] * 2
        assert (absent["file"], folder["error"]["detail"]) == ("absent.png", "this is a folder; name the files in it")
    run("predict", "mdl_none", "query-0.png", expect=ExitCode.REFUSED)
    run("predict", "--onnx", "query-0.png", "query-0.png", expect=ExitCode.REFUSED)
    run("classify", "--onnx", "lines.onnx", "--support", "support", "query-0.png", expect=ExitCode.REFUSED)
    run("predict", model, expect=2)
    run("classify", "--onnx", "lines.onnx", "--inner-steps", "2", "--support", "support", "query-0.png", expect=2)
    run("export", "-o", "x.onnx", expect=2)
    run("export", model, "-o", "x.onnx", "--inner-steps", "2", expect=2)
    run("export", "--adapting", "omniglot-anil", "-o", "x", "--format", "safetensors", expect=2)
    run("export", "--adapting", "omniglot-anil", "-o", "x", "--version", "1", expect=2)
    run("export", model, "-o", "x", "--format", "pickle", expect=2)
    unreached = run("meta-models", "--json", url="http://127.0.0.1:1", expect=ExitCode.TRY_AGAIN)
    assert "innerloop serve" in json.loads(unreached.stderr)["error"]["detail"]
    assert unreached.stdout == ""


def test_evaluate_is_the_servers_report(run: Run, support: Path, tmp_path: Path) -> None:
    model = json.loads(run("adapt", "support", "--json").stdout)["id"]
    rows = [f"query-{kind}.png,kind {kind}" for kind in range(3)]
    (tmp_path / "queries.csv").write_text("\n".join(["path,label", *rows]))
    report = json.loads(run("evaluate", model, "queries.csv", "--json").stdout)
    assert (report["object"], report["n"], report["accuracy"], report["unreadable"]) == ("evaluation", 3, 1.0, [])
    assert report["confusion_matrix"]["labels"] == ["kind 0", "kind 1", "kind 2"]
    shown = run("evaluate", model, "queries.csv", "--version", "1").stdout
    assert re.search(r"accuracy 100\.0%.*n=3", shown)
    assert re.search(r"kind 2 +1 +100%", shown)
    (tmp_path / "torn.png").write_bytes(b"torn")
    queries = ["path,label", "absent.png,kind 0", *rows, "torn.png,kind 0"]
    (tmp_path / "queries.csv").write_text("\n".join(queries))
    torn = run("evaluate", model, "queries.csv", "--json", expect=ExitCode.SOME_UNREADABLE)
    assert json.loads(torn.stdout)["n"] == 3
    unreadable = json.loads(torn.stdout)["unreadable"]
    assert [(u["index"], u["file"]) for u in unreadable] == [(0, "absent.png"), (4, "torn.png")]
    assert (
        "unreadable_file absent.png: No such"
        in run("evaluate", model, "queries.csv", expect=ExitCode.SOME_UNREADABLE).stderr
    )
    (tmp_path / "absent.csv").write_text("path,label\nabsent.png,kind 0")
    assert "absent.png: No such file" in run("evaluate", model, "absent.csv", expect=ExitCode.REFUSED).stderr
    (tmp_path / "queries.csv").write_text("\n".join(["path,label", *rows]))
    (tmp_path / "strange.csv").write_text("path,label\nquery-0.png,stranger")
    problem = json.loads(run("evaluate", model, "strange.csv", "--json", expect=ExitCode.REFUSED).stderr)["error"]
    assert problem["code"] == "unknown_class"
    run("evaluate", model, "queries.csv", "--version", "9", expect=ExitCode.REFUSED)


def test_a_version_can_be_asked(run: Run, support: Path, server: Embedded) -> None:
    model = json.loads(run("adapt", "support", "--json").stdout)["id"]
    with Client(server.url) as client:
        client.add_examples(model, [("kind 3", png(6003, 0))])
    for version, n_way in (("1", 3), ("stable", 3), ("latest", 4), ("2", 4)):
        [answer] = json.loads(
            run("predict", model, "query-0.png", "--version", version, "--top-k", "9", "--json").stdout
        )
        assert len(answer["scores"]) == n_way
    run("export", model, "-o", "first.onnx", "--version", "1")
    [answer] = json.loads(run("predict", "--onnx", "first.onnx", "query-0.png", "--top-k", "9", "--json").stdout)
    assert len(answer["scores"]) == 3


def test_the_ready_line_is_for_scripts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "innerloop", "serve", "--port", "0", "--data-dir", str(tmp_path / "d"), "--json"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as serving:
        assert serving.stdout is not None
        ready = json.loads(serving.stdout.readline())
        assert ready["status"] == "ready"
        with Client(ready["url"]) as client:
            assert client.meta_models()
        serving.send_signal(signal.SIGINT)
        assert serving.stdout.read() == ""
        assert serving.wait(30) == 0


def test_every_command_that_prints_speaks_json() -> None:

    commands = typer.main.get_command(app)
    silent = {"api", "worker"}

    def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
            return
        for child, of in inner.items():
            yield from leaves(of, f"{name} {child}".strip())

    found = dict(leaves(commands, ""))
    assert len(found) > 10
    without = {name for name, command in found.items() if not any("--json" in p.opts for p in command.params)}
    assert without == silent


def test_errors_are_json_where_json_is_asked_for(run: Run, support: Path) -> None:
    refused = run("predict", "mdl_none", "query-0.png", "--json", expect=ExitCode.REFUSED)
    problem = json.loads(refused.stderr)["error"]
    assert (problem["code"], problem["status"]) == ("not_found", 404)
    assert "error" in run("predict", "mdl_none", "query-0.png", expect=ExitCode.REFUSED).stderr


@pytest.mark.parametrize("ask", [("adapt", "support"), ("classify", "query-0.png", "--support", "support")])
def test_a_broken_file_is_named(run: Run, support: Path, ask: tuple[str, ...]) -> None:
    broken = support / "kind 1" / "1.png"
    broken.write_bytes(broken.read_bytes()[:80])
    refused = run(*ask, expect=ExitCode.REFUSED)
    assert str(broken.relative_to(support.parent)) in refused.stderr
    problem = json.loads(run(*ask, "--json", expect=ExitCode.REFUSED).stderr)["error"]
    assert [finding["file"] for finding in problem["errors"]] == [str(broken.relative_to(support.parent))]


def test_names_of_the_package_are_not_taken(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photo-resnet12").mkdir()
    for name in ((), ("--name", "photo-resnet12")):
        refused = run("meta-train", "--data", "photo-resnet12", *name, expect=ExitCode.REFUSED)
        assert "choose a name like my-photo-resnet12" in refused.stderr
    assert "cannot be a name" in run("meta-train", "--data", ".", "--name", "photo", expect=ExitCode.REFUSED).stderr
    (tmp_path / "mine.toml").write_text((RECIPES / "omniglot-anil.toml").read_text())
    refused = run("meta-train", "mine.toml", expect=ExitCode.REFUSED)
    assert "choose a name like my-omniglot-anil with --name" in refused.stderr
    shutil.copytree(ZOO / "vector-ridge", tmp_path / "own" / "vector-ridge")
    environment = {"INNERLOOP_META_MODELS_DIR": "own", "INNERLOOP_REDIS_URL": "redis://127.0.0.1:1/0"}
    for command in (("serve", "--port", "0"), ("api",), ("worker",), ("preview", "hello")):
        refused = run(*command, expect=ExitCode.REFUSED, **environment)
        assert "both hold a meta-model vector-ridge" in " ".join(refused.stderr.split())


@pytest.mark.parametrize(
    "command", [("keys", "list"), ("preview", "hello"), ("export", "--adapting", "omniglot-anil", "-o", "x.onnx")]
)
def test_malformed_settings_are_named(monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    monkeypatch.setenv("INNERLOOP_ALLOWED_ORIGINS", "example.org")
    monkeypatch.setenv("INNERLOOP_CACHE_MB", "x")
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == ExitCode.REFUSED, refused.output
    told = " ".join(refused.stderr.split())
    assert "INNERLOOP_ALLOWED_ORIGINS: 'example.org' is no origin" in told
    assert "INNERLOOP_CACHE_MB is 'x': input should be a valid integer" in told


def test_brackets_are_shown_as_they_are(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mark.csv").write_text("text,label\nhello there,[red]a\nbye now,[/b]\nsee you :smile:,[bold]x[/bold]\n")
    shown = run("adapt", "mark.csv").stdout
    assert "[/b] (1), [bold]x[/bold] (1), [red]a (1)" in shown
    model = shown.split()[0]
    asked = run("predict", model, "hello [/b] :smile:").stdout
    assert re.search(r"hello \[/b\] :smile: +(unlike|\[)", asked)
    assert "[red]a" in asked
    assert re.search(r"^ \[bold\]x\[/bold\] +1", run("evaluate", model, "mark.csv").stdout, re.MULTILINE)
    assert "nope[/b]" in run("adapt", "nope[/b]", expect=ExitCode.REFUSED).stderr
    assert "[/b]" in run("evaluate", "mdl_[/b]", "mark.csv", expect=ExitCode.REFUSED).stderr
    assert "[/b]" in run("export", model, "-o", "x", "--format", "[/b]", expect=2).stderr
    shown = run("predict", model, "no[/b].png", "hello", expect=ExitCode.SOME_UNREADABLE).stdout
    assert re.search(r"no\[/b\]\.png +unreadable_file", shown)


def test_what_is_no_model_id_is_told(run: Run, support: Path) -> None:
    for command in (
        ("predict", *QUERIES),
        ("evaluate", "support", "support"),
        ("export", "support", "-o", "x.onnx"),
        ("models", "show", "support"),
        ("models", "add", "support", "support"),
        ("models", "delete", "mdl_1", "support"),
    ):
        assert "is no model id" in " ".join(run(*command, expect=2).stderr.split())


def test_adapt_says_what_is_doubtful(run: Run, tmp_path: Path) -> None:
    long = " ".join(["hello"] * 200)
    (tmp_path / "texts.csv").write_text(f"text,label\n{long},a\nhello there,a\nbye now,b\n")
    noted = " ".join(run("adapt", "texts.csv").stderr.split())
    assert "class 'b' has 1 example" in noted
    assert re.search(r"hello hello[^/]* …", noted)
    assert "/support/" not in noted
    assert json.loads(run("adapt", "texts.csv", "--json").stdout)["quality"]["warnings"]


def test_doubtful_files_are_named_whatever_they_were_called_before(run: Run, server: Embedded, tmp_path: Path) -> None:
    def saved(folder: str, order: int) -> Path:
        for kind in range(3):
            (tmp_path / folder / f"kind {kind}").mkdir(parents=True)
            for i in range(5):
                (tmp_path / folder / f"kind {kind}" / f"{order * i % 7}.png").write_bytes(png(6100 + kind, i))
        (tmp_path / folder / "kind 0" / f"{order}-wrong.png").write_bytes(png(6101, 50))
        return tmp_path / folder

    first, second = saved("first", 1), saved("second", 6)
    for folder, file in ((first, "1-wrong.png"), (second, "6-wrong.png")):
        noted = run("adapt", folder.name, COLUMNS="300").stderr
        assert re.search(rf"{folder.name}/kind 0/{file}: labelled kind 0, looks like kind 1", noted), noted
        assert "/image" not in noted
    told = json.loads(run("adapt", second.name, "--json").stdout)
    assert [s["file"] for s in told["quality"]["suspicious"]] == ["second/kind 0/6-wrong.png"]
    with Client(server.url) as client:  # in the order of its names
        client.delete(told["id"])
        client.adapt(read_folder(first))
    assert re.search(r"note ex_\w+: labelled kind 0, looks like kind 1", run("adapt", "second", COLUMNS="300").stderr)


def test_a_class_that_is_called_as_an_example_is_itself() -> None:
    warnings = [f"class {'/support/9'!r} has 1 example", "2 say little: /support/0/input/text, /support/1/input/text"]
    suspicious = [{"source": "/support/1/input/text", "label": "/support/9"}]
    brought = [{"source": f"/support/{i}/input/text", "label": "/support/9"} for i in range(2)]
    support = [Example(name, "…", label="/support/9") for name in ("a.txt", "b.txt")]
    told = named({"warnings": warnings, "suspicious": suspicious}, brought, support)
    assert told["warnings"] == [warnings[0], "2 say little: a.txt, b.txt"]
    assert told["suspicious"][0]["file"] == "b.txt"


def test_a_file_of_rows_is_an_example_each(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in range(2):
        (tmp_path / "rows" / f"kind {kind}").mkdir(parents=True)
        np.save(tmp_path / "rows" / f"kind {kind}" / "1.npy", rng.normal(4 * kind, 1, (5, 4)))
    model = json.loads(run("adapt", "rows", "--json").stdout)
    assert [(c["name"], c["examples"]) for c in model["classes"]] == [("kind 0", 5), ("kind 1", 5)]
    asked = rng.normal(4 * np.array([[0], [1], [0]]), 1, (3, 4))
    asked[2, 1] = np.nan
    np.save(tmp_path / "2d.npy", asked)
    np.save(tmp_path / "1d.npy", asked[1])
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    files = ("2d.npy", "1d.npy", "objects.npy")
    run("export", model["id"], "-o", "rows.onnx")
    for how in ((model["id"],), ("--onnx", "rows.onnx")):
        results = json.loads(run("predict", *how, *files, "--json", expect=ExitCode.SOME_UNREADABLE).stdout)
        assert [r["file"] for r in results] == ["2d.npy[0]", "2d.npy[1]", "2d.npy[2]", "1d.npy", "objects.npy"]
        assert best(results[:2] + results[3:4]) == ["kind 0", "kind 1", "kind 1"]
        assert [r["error"]["code"] for r in (results[2], results[4])] == ["bad_vector", "undecodable_vector"]
    assert json.loads(run("evaluate", model["id"], "rows", "--json").stdout)["n"] == 10
    np.save(tmp_path / "rows" / "kind 1" / "2.npy", np.full((2, 4), np.inf))
    refused = run("adapt", "rows", expect=ExitCode.REFUSED)
    assert "rows/kind 1/2.npy[0]: NaN or infinity" in refused.stderr


def test_more_than_a_request_holds_is_classified_in_parts(server: Embedded, tmp_path: Path) -> None:
    for kind in range(2):
        (tmp_path / "rows" / f"kind {kind}").mkdir(parents=True)
        np.save(tmp_path / "rows" / f"kind {kind}" / "1.npy", 4 * kind + np.eye(4))
    np.save(tmp_path / "asked.npy", np.resize([[0.5] * 4, [4.5] * 4], (1001, 4)))
    asked = ["classify", "--support", str(tmp_path / "rows"), str(tmp_path / "asked.npy"), "--url", server.url]
    ran = CliRunner().invoke(app, [*asked, "--meta-model", "vector-ridge", "--json"])
    assert best(json.loads(ran.stdout)) == ["kind 0", "kind 1"] * 500 + ["kind 0"]


def test_what_is_no_file_of_a_class_is_said(run: Run, support: Path) -> None:
    (support / "kind 0" / "more").mkdir()
    (support / "kind 0" / "more" / "2.png").write_bytes(png(6000, 2))
    (support / "kind 3").mkdir()
    noted = " ".join(run("adapt", "support").stderr.split())
    assert "support/kind 0/more is not read" in noted
    assert "support/kind 3 holds no file" in noted
    lines = run("adapt", "support", "--json").stderr.splitlines()
    assert len([json.loads(line)["warning"]["detail"] for line in lines]) == 2


def test_in_a_pipe_nothing_is_cut(run: Run) -> None:
    found = json.loads(run("meta-models", "--json").stdout)
    lines = run("meta-models", COLUMNS="40").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [card["reference"] for card in found]


def test_exit_codes_and_commands_are_documented(run: Run) -> None:
    page = (ROOT / "docs" / "command-line.md").read_text()
    for code in (0, 2, *ExitCode):
        assert f"| {int(code)} |" in page
    names = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    assert not [name for name in names if f"`{name}" not in page and f" `{name}`" not in page]


def test_the_version_is_told() -> None:
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert CliRunner().invoke(app, ["--version"]).stdout == f"innerloop {about['version']}\n"


def test_exports_say_what_they_were_asked_with(run: Run, support: Path, tmp_path: Path) -> None:
    model = json.loads(run("adapt", "support", "--json").stdout)["id"]
    run("export", model, "-o", "lines.onnx")
    asked = run("predict", "--onnx", "lines.onnx", model, "hello there", "--json", expect=ExitCode.SOME_UNREADABLE)
    errors = [one["error"] for one in json.loads(asked.stdout)]
    assert [e["code"] for e in errors] == ["wrong_modality"] * 2
    assert "a model's id" in errors[0]["detail"]
    assert "not a text" in errors[1]["detail"]
    assert "is no file" in run("predict", "--onnx", "none.onnx", "query-0.png", expect=ExitCode.REFUSED).stderr
    run("predict", "--onnx", "lines.onnx", "query-0.png", "--version", "1", expect=2)
    run("export", model, "-o", "lines.tflite", expect=2)


def test_a_key_as_files_hold_it(run: Run, support: Path) -> None:
    told = run("adapt", "support", "--key", "schlüssel", expect=ExitCode.REFUSED).stderr
    assert "characters in it that no key has" in told
    assert "schlüssel" not in told


def test_a_label_that_cannot_be_used_is_told_with_its_text(run: Run, tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text(f"text,label\nmy card was lost,{'a' * 201}\ntwice,b\n")
    told = run("adapt", "texts.csv", expect=ExitCode.REFUSED).stderr
    assert "my card was lost: a label has at most 200 characters" in " ".join(told.split())


def test_models_are_listed_grown_and_deleted(run: Run, support: Path, tmp_path: Path) -> None:
    model = json.loads(run("adapt", "support", "--name", "letters", "--json").stdout)["id"]
    assert re.search(rf"{model} +letters +ready +1 ", run("models").stdout)
    (tmp_path / "more" / "kind 9").mkdir(parents=True)
    (tmp_path / "more" / "kind 9" / "1.png").write_bytes(png(6009, 1))
    grown = json.loads(run("models", "add", model, "more", "--json").stdout)
    assert (grown["version"], [c["name"] for c in grown["classes"]][-1]) == (2, "kind 9")
    shown = run("models", "show", model).stdout
    assert re.search(r"kind 9 +1", shown)
    assert "letters  ready, v2" in shown
    assert json.loads(run("models", "delete", model, "--json").stdout) == {"deleted": [model], "errors": []}
    assert model not in run("models").stdout
    run("models", "show", model, expect=ExitCode.REFUSED)
