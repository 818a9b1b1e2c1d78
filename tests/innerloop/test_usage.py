"""Wrong usage: a box for people, one line of JSON for scripts."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from innerloop.cli import app


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("predict mdl_1", "Invalid value for FILES: give a model id and at least one file or text"),
        ("predict foo f.png", "'foo' is no model id"),
        ("export mdl_1 -o v.txt", "a file's name ends with .onnx or .safetensors"),
        ("evaluate mdl_1", "Missing argument"),
        ("preview hello --meta", "No such option"),
        ("meta-models add", "Missing argument"),
        ("nothing", "No such command"),
    ],
)
def test_wrong_usage_is_json_where_json_is_asked_for(command: str, told: str) -> None:
    ran = CliRunner().invoke(app, [*command.split(), "--json"])
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert told in json.loads(ran.stderr)["error"]["detail"]
    shown = CliRunner().invoke(app, command.split())
    assert (shown.exit_code, "Usage: " in shown.stderr) == (2, True)


def test_help_is_help_with_json_too() -> None:
    ran = CliRunner().invoke(app, ["predict", "--json", "--help"])
    assert (ran.exit_code, "MODEL FILES" in ran.stdout) == (0, True)
