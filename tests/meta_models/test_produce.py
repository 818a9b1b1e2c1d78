"""A recipe becomes a published folder whose card says how it came about; what is done is not done again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from meta_models.all_classes import RUN as ALL_CLASSES
from meta_models.benchmark import Subject
from meta_models.catalogue import Catalogue
from meta_models.checkpoint import CHECKPOINT, RECIPE
from meta_models.datasets import DataError
from meta_models.evaluate import evaluate_all
from meta_models.manifest import InnerLoop
from meta_models.meta_train import LOG
from meta_models.produce import BROUGHT_SEED, produce
from meta_models.provenance import command, provenance
from meta_models.recipe import RECIPES, Development, Search, load_recipe
from meta_models.search import SEED as SEARCH_SEED
from meta_models.sources import load_splits
from meta_models.splits import Splits
from meta_models.torch_model import TorchModel

STEPS, ALL_CLASSES_STEPS, EPISODES = 2, 3, 4


def test_from_a_folder_to_a_card(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe("own-drawings")
    outer = recipe.outer.model_copy(update={"steps": STEPS, "all_classes_steps": ALL_CLASSES_STEPS})
    small = {"backbone": {"name": "conv4", "width": 8}, "initialize_from": None, "outer": outer}
    steps = {"algorithm": {"name": "anil"}, "search": Search(inner_steps=(0,), inner_lr=(0.1,))}
    recipe = recipe.model_copy(update={**small, **steps, "episodes": {"n_way": 5, "n_shot": 1, "n_query": 2}})
    seen: list[int] = []

    def make(on_progress: Callable[[int, dict[str, float]], None]) -> None:
        produce(
            recipe,
            pictures,
            tmp_path / "run",
            zoo=tmp_path / "zoo",
            episodes=EPISODES,
            device="cpu",
            say=lambda _: None,
            on_progress=on_progress,
        )

    def note(step: int, _: dict[str, float]) -> None:
        seen.append(step)
        with pytest.raises(ValueError, match="another process is meta-training in"):
            make(lambda *_: None)

    make(note)
    assert seen == list(range(1, STEPS + ALL_CLASSES_STEPS + 1))
    manifest = Catalogue(tmp_path / "zoo").resolve("own-drawings").manifest
    assert manifest.training.steps == STEPS + ALL_CLASSES_STEPS
    assert "learned from development classes too" in manifest.training.notes
    assert manifest.training.recipe == "meta_models/recipes/own-drawings.toml"
    assert manifest.training.recipe_files == recipe.files
    assert [one.file for one in recipe.files] == [manifest.training.recipe]
    assert {figure.command for figure in manifest.benchmarks} == {
        f"innerloop meta-train own-drawings --data FOLDER --episodes {EPISODES}"
    }
    assert manifest.calibration
    assert manifest.inner_loop == InnerLoop(inner_steps=0, inner_lr=0.1), "as chosen"
    more = json.loads((tmp_path / "run" / ALL_CLASSES / RECIPE).read_text())
    assert more["algorithm"] == recipe.algorithm, "learned with the steps of the recipe"
    assert {(figure.episodes, figure.protocol) for figure in manifest.benchmarks} == {(EPISODES, "own classes")}

    checkpoints = {path: path.read_bytes() for path in (tmp_path / "run").rglob(CHECKPOINT)}
    monkeypatch.setattr(Subject, "measure", Mock(side_effect=AssertionError("measured again")))
    make(note)
    assert len(seen) == STEPS + ALL_CLASSES_STEPS
    assert {path: path.read_bytes() for path in checkpoints} == checkpoints
    again = Catalogue(tmp_path / "zoo").resolve("own-drawings").manifest
    assert again == manifest, "weights and graphs to the byte"


def test_too_few_examples_are_told_before_the_first_step(pictures: Path, tmp_path: Path) -> None:
    recipe = load_recipe("own-drawings").model_copy(update={"initialize_from": None, "development": Development()})
    with pytest.raises(DataError, match=r"class 'kind 0' has 6 examples, and \[development\] of the recipe takes 15"):
        produce(recipe, pictures, tmp_path / "run", zoo=tmp_path / "zoo", device="cpu")


def test_a_card_says_what_was_chosen_and_what_training_brought(pictures: Path, tmp_path: Path) -> None:
    recipe = load_recipe("own-drawings")
    development = Development(n_episodes=5, within_group=0.0, settings=((20, 1), (8, 1)), n_query=5)
    changes = {
        "algorithm": {"name": "anil"},
        "search": Search(inner_steps=(0, 1), inner_lr=(0.1,)),
        "development": development,
        "outer": recipe.outer.model_copy(update={"steps": 1}),
    }
    recipe, said = recipe.model_copy(update=changes), list[str]()
    made = produce(
        recipe, pictures, tmp_path / "run", zoo=tmp_path / "zoo", episodes=EPISODES, device="cpu", say=said.append
    )
    began = Catalogue().resolve("omniglot-protonet")
    model, pools = TorchModel.load(began.folder, began.manifest), load_splits(pictures, recipe).development
    spec = recipe.development_spec(6, 1)
    before = evaluate_all(model, pools, spec, development.n_episodes, BROUGHT_SEED)
    assert BROUGHT_SEED != SEARCH_SEED, "nothing was chosen by these episodes"
    assert "6w1s on development classes: " in made.training.notes
    assert f"omniglot-protonet, where it began: {before}." in made.training.notes
    assert "on development episodes: 6w1s with" in made.training.notes.lower()
    told = " ".join([*said, made.training.notes, (tmp_path / "run" / LOG).read_text()])
    assert "6w1s" in told
    assert not {"20w1s", "8w1s"} & set(re.findall(r"\d+w\ds", told))


@pytest.mark.parametrize("name", ["omniglot-protonet", "own-drawings"])
def test_a_card_names_the_recipe_that_was_read(splits: Splits, tmp_path: Path, name: str) -> None:
    mine, data = tmp_path / "mine.toml", " --data FOLDER" if name == "own-drawings" else ""
    mine.write_text((RECIPES / f"{name}.toml").read_text())
    for given, file, read in ((name, f"meta_models/recipes/{name}.toml", name), (str(mine), "mine.toml", "mine.toml")):
        recipe = load_recipe(given).model_copy(update={"name": "another"})
        assert provenance(recipe, splits)["recipe"] == file
        assert command(recipe) == f"innerloop meta-train {read}{data}"


@pytest.mark.parametrize(("steps", "data"), [(0, "96 examples of 8 classes"), (3, "192 examples of 16 classes")])
def test_a_card_counts_what_was_learned_from(splits: Splits, steps: int, data: str) -> None:
    recipe = load_recipe("own-drawings")
    recipe = recipe.model_copy(update={"outer": recipe.outer.model_copy(update={"all_classes_steps": steps})})
    assert provenance(recipe, splits)["data"] == f"{data} of one's own"
