"""A recipe that cannot be carried out is refused when it is read, in a line that names file and field."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from meta_models.inputs import DrawingSpec
from meta_models.manifest import RecipeFile
from meta_models.recipe import RECIPES, Recipe, Search, load_recipe
from meta_models.recipe_checks import check, why_not_normalised

BASE: dict[str, Any] = {
    "description": "sketches",
    "algorithm": {"name": "maml"},
    "backbone": {"name": "conv4", "width": 8},
    "data": {"name": "omniglot"},
    "episodes": {"n_way": 5, "n_shot": 1, "n_query": 5},
    "outer": {"steps": 4},
}


def written(changes: dict[str, Any], folder: Path) -> str:
    """A recipe with `table.field` changed, as a TOML file."""
    made = {key: dict(value) if isinstance(value, dict) else value for key, value in BASE.items()}
    for place, value in changes.items():
        table, _, field = place.partition(".")
        if field:
            made.setdefault(table, {})[field] = value
        else:
            made[table] = value
    lines = [f"{key} = {_toml(value)}" for key, value in {"name": "mine", **made}.items()]
    (folder / "mine.toml").write_text("\n".join(lines))
    return str(folder / "mine.toml")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_toml(one)}' for key, one in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def inner(steps: int, rate: float) -> dict[str, float]:
    return {"inner_steps": steps, "inner_lr": rate}


def inner_tried(steps: list[int], rates: list[float]) -> dict[str, Any]:
    return {"inner_steps": steps, "inner_lr": rates}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_committed_recipes_can_be_carried_out(path: Path) -> None:
    assert load_recipe(path.stem).name == path.stem


def test_what_the_others_change_can_be_carried_out(tmp_path: Path) -> None:
    assert load_recipe(written({}, tmp_path)).name == "mine"


def test_a_default_below_1_can_be_said(tmp_path: Path) -> None:
    """As one does over a base that says otherwise."""
    changes = {"algorithm": {"name": "protonet"}, "backbone": {"name": "equivariant", "extra": 0}}
    assert load_recipe(written(changes, tmp_path)).backbone["extra"] == 0
    with pytest.raises(ValueError, match="extra: -1 has a size below 1"):
        load_recipe(written({**changes, "backbone": {"name": "equivariant", "extra": -1}}, tmp_path))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"outer.unchanged": 0.5, "augment.erase": 0.3}, r"\[outer\] unchanged: is of pictures without"),
        (
            {
                "outer.unchanged": 0.5,
                "algorithm": {"name": "protonet"},
                "backbone": {"name": "identity"},
                "input": {"kind": "vector"},
            },
            r"\[outer\] unchanged: is of pictures without",
        ),
        ({"algorithm.name": "mamal"}, r"\[algorithm\] name: 'mamal' is unknown; there are anil, .*maml, mamlpp"),
        ({"backbone.name": "conv5"}, r"\[backbone\] name: 'conv5' is unknown; there are cells, conv4"),
        ({"backbone": {}}, r"\[backbone\] name: 'None' is unknown"),
        ({"algorithm.metrics": 1}, r"\[algorithm\] knows no metrics; it has first_order, inner, inner_scale, start"),
        ({"backbone": {"name": "cells"}}, r"\[backbone\] lacks edges"),
        ({"backbone.width": 0}, r"\[backbone\] width: 0 has a size below 1"),
        ({"backbone": {"name": "residual", "widths": [8, -1]}}, r"widths: \[8, -1\] has a size below 1"),
        ({"backbone.width": "8"}, r"\[backbone\] width: Input should be a valid integer, found '8'"),
        ({"input": {"kind": "drawing", "size": 8}}, r"\[backbone\]: nothing is left of an input of \(1, 8, 8\)"),
        (
            {"algorithm": {"name": "protonet", "metric": "manhattan"}},
            "metric: Input should be 'euclidean'",
        ),
        (
            {
                "algorithm": {"name": "protonet", "tangents": True},
                "backbone": {"name": "identity"},
                "input": {"kind": "vector"},
            },
            r"\[algorithm\] tangents: vector examples cannot be turned and sheared",
        ),
        ({"episodes.symmetries": "mirrors"}, r"\[episodes\] symmetries: Input should be"),
        ({"episodes.n_shots": 1}, r"\[episodes\] knows no n_shots"),
        ({"episodes.n_way": 1}, "n_way of an episode is 1; it must be at least 2"),
        ({"episodes.n_shot": 0}, "n_shot of an episode is 0"),
        ({"episodes.n_query": 0}, "n_query of an episode is 0"),
        ({"augment": {"rotate": 3}}, r"\[augment\] knows no rotate"),
        ({"outer.steps": -1}, r"outer\.steps: Input should be greater than or equal to 0, found -1"),
        ({"outer.meta_batch_size": 0}, r"outer\.meta_batch_size: .*, found 0"),
        ({"outer.horizon": 3}, r"outer: horizon: 3 is below steps = 4"),
        ({"outer.seed": -1}, r"outer.seed: Input should be greater than or equal to 0, found -1"),
        ({"version": -3}, r"version: Input should be greater than or equal to 1, found -3"),
        ({"outer.outer_lr": 0}, r"outer\.outer_lr: Input should be greater than 0"),
        ({"outer.outer_lr": float("nan")}, r"outer\.outer_lr: "),
        ({"outer.average": 1.0}, r"outer\.average: Input should be less than 1"),
        ({"development.every": 0}, r"development\.every: "),
        ({"development.n_episodes": 0}, r"development\.n_episodes: "),
        ({"development.settings": []}, r"development\.settings: "),
        ({"development.settings": [[1, 1]]}, r"development\.settings\.0\.0: "),
        ({"development.settings": [[5, 0]]}, r"development\.settings\.0\.1: "),
        ({"development.n_query": 0}, r"development\.n_query: "),
        ({"algorithm.inner": inner(-1, 0.1)}, r"inner_steps: -1 is not from 0 to 50"),
        ({"algorithm.inner": inner(51, 0.1)}, r"inner_steps: 51 is not from 0 to 50"),
        ({"algorithm.inner": inner(5, 0.0)}, r"inner_lr: 0\.0 is not above 0"),
        ({"algorithm.inner": inner(5, 1.5)}, r"inner_lr: 1\.5 is not above 0 and at most 1"),
        ({"algorithm.inner": {"inner_steps": 5}}, r"\[algorithm\.inner\] lacks inner_lr"),
        ({"algorithm.inner": 5}, "inner: 5 is no table"),
        ({"search": {"inner_steps": [0, 60], "inner_lr": [0.1]}}, r"\[search\] inner_steps: 60 is not from 0 to 50"),
        ({"search": {"inner_steps": [0, 5]}}, "search: inner_steps and inner_lr are tried together"),
        ({"outer.frozen": ["backbne."]}, r"frozen: no tensor's name begins with 'backbne\.'; they begin with backbone"),
        ({"outer.from_development": ["alpha"]}, "from_development: no tensor's name begins with 'alpha'"),
        ({"outer.outer_lr_of": {"rate.": 0.1}}, r"outer_lr_of: no tensor's name begins with 'rate\.'"),
        ({"algorithm": {"name": "protonet", "inner": inner(5, 0.1)}}, "protonet takes no inner steps"),
        (
            {"algorithm": {"name": "ridge"}, "search": {"inner_steps": [1], "inner_lr": [0.1]}},
            "ridge takes no inner steps",
        ),
        (
            {
                "algorithm": {"name": "mamlpp", "max_steps": 3, "inner": inner(3, 0.1)},
                "search": {"inner_steps": [5], "inner_lr": [0.1]},
            },
            r"\[search\] inner_steps: 5 is not from 0 to 3, the most that mamlpp takes here",
        ),
        ({"algorithm": {"name": "mamlpp", "inner": inner(0, 0.1)}}, "inner_steps = 0 would leave some unlearned"),
        ({"algorithm": {"name": "mamlpp", "inner": inner(2, 0.1)}}, "max_steps = 5 steps, and inner_steps = 2 would"),
        ({"algorithm": {"name": "reptile", "start": "shared"}}, "would learn nothing"),
        ({"algorithm": {"name": "reptile", "inner": inner(0, 0.1)}}, "reptile learns from where its steps lead"),
        (
            {"initialize_from": "../zoo/x"},
            r"initialize_from: '\.\./zoo/x' is neither a meta-model's name nor",
        ),
        *(
            ({"data.name": name, "outer.all_classes_steps": 1}, f"classes of {name} are read apart")
            for name in ("vectors", "text", "sounds", "photos")
        ),
        ({"taught_by": "Not a name"}, "taught_by: String should match pattern"),
        (
            {"data": {"name": "folder"}, "input": {"kind": "text"}, "algorithm": {"name": "named"}},
            "texts of your own are not meta-trained on: `innerloop meta-models add NAME",
        ),
    ],
)
def test_what_cannot_be_is_told_in_a_line(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told) as error:
        load_recipe(written(changes, tmp_path))
    assert str(error.value).startswith(f"{tmp_path / 'mine.toml'}: ")
    assert "\n" not in str(error.value)


READ = ("deepest.toml", "deeper.toml", "mine.toml")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_base_gives_what_the_file_leaves_out(tmp_path: Path) -> None:
    below = load_recipe(written({"version": 7, "outer.seed": 3, "search": inner_tried([1, 2], [0.1])}, tmp_path))
    (tmp_path / "deeper.toml").write_text('base = "mine.toml"\nepisodes.n_way = 6')
    with pytest.raises(ValueError, match="name: Field required; description: Field required"):
        load_recipe(str(tmp_path / "deeper.toml"))
    (tmp_path / "deepest.toml").write_text(
        'base = "deeper.toml"\nname = "deepest"\ndescription = "new"\nsearch.inner_steps = [5]'
    )
    changed = {
        "name": "deepest",
        "version": 1,
        "description": "new",
        "file": "deepest.toml",
        "files": tuple(RecipeFile(file=name, sha256=sha256(tmp_path / name)) for name in READ),
        "episodes": {"n_way": 6, "n_shot": 1, "n_query": 5},
        "search": Search(**inner_tried([5], [0.1])),
    }
    assert load_recipe(str(tmp_path / "deepest.toml")) == below.model_copy(update=changed)
    committed = load_recipe("omniglot-maml-vinyals")
    assert committed.algorithm == load_recipe("omniglot-maml").algorithm
    assert [(one.file, one.sha256) for one in committed.files][:2] == [
        (f"meta_models/recipes/{name}", sha256(RECIPES / name))
        for name in ("omniglot-maml-vinyals.toml", "omniglot-maml.toml")
    ]


@pytest.mark.parametrize(
    ("changes", "made"),
    [
        ('algorithm.name = "ridge"', {"algorithm": {"name": "ridge"}}),
        ('[backbone]\nname = "residual"\nwidths = [8]', {"backbone": {"name": "residual", "widths": [8]}}),
        ('initialize_from = ""', {"initialize_from": None}),
        ("input.size = 32", {"input": DrawingSpec(size=32)}),
    ],
)
def test_tables_of_another_name_or_kind_are_taken_whole(changes: str, made: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f'base = "own-drawings"\nname = "mine"\ndescription = "x"\n{changes}')
    found = load_recipe(str(tmp_path / "mine.toml"))
    assert {field: getattr(found, field) for field in made} == made
    assert found.data.name == "folder"


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ('"mine.toml"', r"base: mine\.toml is its own base in the end"),
        ('"other.toml"', r"base: no recipe '.*other\.toml'; committed recipes: "),
        ('"omniglot-mamal"', "base: no recipe 'omniglot-mamal'; committed recipes: "),
        ("[1]", r"base: \[1\] is not one recipe"),
        ('"torn.toml"', r"base: .*/torn\.toml: "),
    ],
)
def test_a_base_that_is_none_is_told(base: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f"base = {base}")
    (tmp_path / "torn.toml").write_text("[")
    with pytest.raises(ValueError, match=told) as error:
        load_recipe(str(tmp_path / "mine.toml"))
    assert str(error.value).startswith(f"{tmp_path / 'mine.toml'}: ")


def test_what_is_no_recipe_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.toml").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no recipe '.*x\.toml'; committed recipes: "):
        load_recipe(str(tmp_path / "x.toml"))
    (tmp_path / "torn.toml").write_text('name = "mi')
    with pytest.raises(ValueError, match=r"torn\.toml: "):
        load_recipe(str(tmp_path / "torn.toml"))


@pytest.mark.parametrize(
    ("changes", "noted"),
    [
        ({}, True),
        ({"algorithm": {"name": "reptile"}}, True),
        ({"algorithm": {"name": "mamlpp"}}, False),
        ({"algorithm": {"name": "protonet"}}, False),
        ({"initialize_from": "omniglot-protonet"}, False),
        ({"outer": {"steps": 0}}, False),
    ],
)
def test_a_note_says_whose_normalisation_sees_no_data(changes: dict[str, Any], noted: bool, tmp_path: Path) -> None:
    note = why_not_normalised(load_recipe(written(changes, tmp_path)))
    assert ("keeps normalisation statistics as they begin" in (note or "")) == noted


def test_checking_draws_no_numbers(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(tomllib.loads(Path(written({}, tmp_path)).read_text()))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    check(recipe)
    assert torch.equal(torch.get_rng_state(), before)
