"""Completion of commands and options, in shells that ask for it and installed for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.innerloop.conftest import ROOT

COMPLETE = r"""
source <(innerloop --show-completion)
COMP_WORDS=(innerloop "$@"); COMP_CWORD=$#
$(complete -p innerloop | sed 's/.*-F \([^ ]*\).*/\1/') innerloop
printf '%s\n' "${COMPREPLY[@]}"
"""


def at_home(home: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "HOME": str(home), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}


def completed(home: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    command = ["bash", "-c", COMPLETE, "bash", *words]
    return subprocess.run(command, env=at_home(home), capture_output=True, text=True, check=True).stdout.split()


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    assert sorted(completed(tmp_path, "meta")) == ["meta-models", "meta-train"]
    assert completed(tmp_path, "meta-models", "a") == ["add"]
    assert completed(tmp_path, "evaluate", "--ver") == ["--version"]
    assert {"create", "list", "revoke"} <= set(completed(tmp_path, "keys", ""))


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("bash", ".bash_completions/innerloop.sh"),
        ("zsh", ".zfunc/_innerloop"),
        ("fish", ".config/fish/completions/innerloop.fish"),
    ],
)
def test_completions_install(tmp_path: Path, shell: str, file: str) -> None:
    # The shell is told, not found out: it need not be on this machine.
    environment = {**at_home(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    subprocess.run(["innerloop", "--install-completion", shell], env=environment, capture_output=True, check=True)
    assert "innerloop" in (tmp_path / file).read_text()
