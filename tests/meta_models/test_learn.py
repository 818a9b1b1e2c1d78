"""Where the command publishes, and under which names it refuses to begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import typer

from innerloop.cli.learn import meta_train
from meta_models import produce
from meta_models.catalogue import ZOO
from meta_models.recipe import RECIPES

OWN_ZOO = Path("meta-models")


@pytest.fixture
def produced(monkeypatch: pytest.MonkeyPatch) -> Mock:
    made = Mock()
    monkeypatch.setattr(produce, "produce", made)
    return made


def copied(name: str, folder: Path) -> str:
    (folder / "copy.toml").write_text((RECIPES / f"{name}.toml").read_text())
    return str(folder / "copy.toml")


@pytest.mark.parametrize(
    ("recipe", "options", "zoo"),
    [
        ("omniglot-anil", {}, ZOO),
        (str(RECIPES / "omniglot-anil.toml"), {}, ZOO),
        ("omniglot-anil", {"name": "mine"}, ZOO),
        ("own-drawings", {"data": Path("drawings")}, OWN_ZOO),
        ("a copy", {}, OWN_ZOO),
        ("a copy", {"zoo": Path("elsewhere")}, Path("elsewhere")),
    ],
)
def test_only_committed_recipes_are_published_in_the_package(
    produced: Mock, tmp_path: Path, recipe: str, options: dict[str, Any], zoo: Path
) -> None:
    # A committed recipe whose meta-model is not shipped: its name is free.
    given = copied("omniglot-views-unlearned", tmp_path) if recipe == "a copy" else recipe
    meta_train(given, **options)
    assert produced.call_args.kwargs["zoo"] == zoo


@pytest.mark.parametrize(
    ("recipe", "options"),
    [("a copy", {}), ("a copy", {"zoo": Path("elsewhere")}), ("omniglot-ridge", {"name": "omniglot-anil"})],
)
def test_a_name_of_the_package_is_refused_before_training(
    produced: Mock, tmp_path: Path, capsys: pytest.CaptureFixture[str], recipe: str, options: dict[str, Any]
) -> None:
    with pytest.raises(typer.Exit):
        meta_train(copied("omniglot-anil", tmp_path) if recipe == "a copy" else recipe, **options)
    assert "choose a name like my-omniglot-anil" in " ".join(capsys.readouterr().err.split())
    produced.assert_not_called()


@pytest.mark.parametrize(("option", "told"), [("zoo", "file is no folder, so nothing"), ("runs", "Not a directory: ")])
@pytest.mark.parametrize("within", ["", "deeper"])
def test_where_nothing_can_be_written_is_told_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, told: str, within: str
) -> None:
    (tmp_path / "file").touch()
    folders: dict[str, Any] = {"zoo": tmp_path / "zoo", "runs": tmp_path / "runs", option: tmp_path / "file" / within}
    with pytest.raises(typer.Exit):
        meta_train("own-drawings", data=tmp_path / "none", **folders)
    assert told in " ".join(capsys.readouterr().err.split())
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file"]
