"""`models versions` and `models update` list what a model was and choose what it is."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from innerloop import Client
from innerloop.cli import app
from innerloop.cli.console import ExitCode
from innerloop.embedded import Embedded
from tests.asking import drawn
from tests.drawings import png
from tests.innerloop.conftest import Run


@pytest.fixture
def model(server: Embedded) -> str:
    """Of three versions: adapted, with a class more, with that class renamed."""
    with Client(server.url) as client:
        made = client.adapt(drawn(2, 2, first=8200), name="letters")["id"]
        client.quality(made)
        client.add_examples(made, [("new", png(8250, shot)) for shot in range(2)])
        client.quality(made)
        client.rename_class(made, "new", "[red]renamed[/red]")
    return made


def test_versions_are_listed_and_one_is_chosen(run: Run, model: str) -> None:
    listed = run("models", "versions", model).stdout
    assert re.search(r"^ *3 +ready +class renamed, from 2 +3 +6 +\d+%", listed, re.MULTILINE)
    assert re.search(r"^ *2 +ready +examples added \+2, from 1 +3 +6", listed, re.MULTILINE)
    assert re.search(r"^ *1 +ready, stable +2 +4", listed, re.MULTILINE)
    found = json.loads(run("models", "versions", model, "--json").stdout)
    assert [(v["version"], v["stable"]) for v in found] == [(3, False), (2, False), (1, True)]

    shown = run("models", "update", model, "--stable", "2", "--name", "letters, checked").stdout
    assert "letters, checked  ready, v3, stable is v2" in shown
    assert "[red]renamed[/red]" in shown
    assert re.search(r"2 +ready, stable", run("models", "versions", model).stdout)
    unnamed = json.loads(run("models", "update", model, "--name", "", "--json").stdout)
    assert (unnamed["name"], unnamed["stable_version"]) == (None, 2), "the one is changed without the other"


def test_what_cannot_be_chosen_is_told(run: Run, model: str, tmp_path: Path) -> None:
    assert "give what to change" in run("models", "update", model, expect=2).stderr
    run("models", "update", model, "--stable", "0", expect=2)
    refused = run("models", "update", model, "--stable", "9", "--json", expect=ExitCode.REFUSED)
    assert "versions 1 to 3, not 9" in json.loads(refused.stderr)["error"]["detail"]
    for command in ("versions", "update"):
        assert "is no model id" in " ".join(run("models", command, "letters", expect=2).stderr.split())
    run("models", "versions", "mdl_none", expect=ExitCode.REFUSED)


def test_deleting_goes_on_past_what_is_absent(server: Embedded) -> None:
    with Client(server.url) as client:
        first, second = (client.adapt(drawn(2, 1, first=kind), wait=None)["id"] for kind in (8260, 8270))
    delete = partial(CliRunner().invoke, app, env={"INNERLOOP_URL": server.url})
    ran = delete(["models", "delete", first, "mdl_none", second, "--json"])
    told = json.loads(ran.stdout)
    assert (ran.exit_code, told["deleted"]) == (ExitCode.REFUSED, [first, second])
    assert [(one["model"], one["error"]["code"]) for one in told["errors"]] == [("mdl_none", "not_found")]
    shown = delete(["models", "delete", first])
    assert f"not_found {first}: " in shown.stderr


def test_a_broken_file_is_named(run: Run, model: str, support: Path) -> None:
    (support / "kind 1" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    refused = run("models", "add", model, "support", expect=ExitCode.REFUSED)
    assert "support/kind 1/1.png: " in refused.stderr


def test_help_names_what_they_do(run: Run) -> None:
    told = run("models", "--help").stdout
    assert re.search(r"versions +List its versions", told)
    assert re.search(r"update +Change its name or choose its stable version", told)


def test_options_before_a_subcommand_are_its_own(server: Embedded, model: str) -> None:
    elsewhere = {"INNERLOOP_URL": "http://127.0.0.1:1"}
    ran = CliRunner().invoke(app, ["models", "--url", server.url, "--json", "show", model], env=elsewhere)
    assert json.loads(ran.stdout)["id"] == model
    both = ["models", "--url", "http://127.0.0.1:1", "show", model, "--url", server.url]
    assert model in CliRunner().invoke(app, both).stdout, "the nearer one holds"
    keyed = CliRunner().invoke(app, ["models", "--url", server.url, "--key", "schlüssel", "show", model])
    assert "characters in it that no key has" in " ".join(keyed.stderr.split())
