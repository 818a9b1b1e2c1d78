"""docs/algorithms.md says what is so, and README.md what the cards say."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from meta_models import algorithms
from meta_models.catalogue import Catalogue, Published
from meta_models.recipe import RECIPES, load_recipe
from meta_models.torch_model import TorchModel, build_algorithm

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TEXT = (ROOT / "docs" / "algorithms.md").read_text()
ROWS = {row[0]: row[1:] for row in re.findall(r"^\| `([\w-]+)` \|.*\| ([\d,]+) \| `(\w+\.py)` \|$", TEXT, re.MULTILINE)}


def test_every_recipe_has_a_row() -> None:
    recipes = [load_recipe(path.stem) for path in RECIPES.glob("*.toml")]
    compared = {r.name for r in recipes if (r.data.split, r.backbone["name"]) == ("background", "conv4")}
    compared |= {r.name for r in recipes if r.data.name in ("text", "vectors")}
    assert set(ROWS) == compared


@pytest.mark.parametrize("name", sorted(ROWS))
def test_bytes_and_file_of_a_row(name: str) -> None:
    size, file = ROWS[name]
    recipe = load_recipe(name)
    source = (Path(algorithms.__file__).parent / file).read_text()
    assert f'name: ClassVar[str] = "{recipe.algorithm["name"]}"' in source
    algorithm = build_algorithm(recipe.algorithm, recipe.backbone, recipe.input.shape)
    model = TorchModel(algorithm, algorithm.init())
    inputs = recipe.input.examples(np.random.default_rng(0), np.arange(20))
    adapted = model.adapt(model.features(inputs), np.arange(20), 20)
    assert sum(tensor.nbytes for tensor in adapted.values()) == int(size.replace(",", ""))


BASELINES = ("pretrain", "contrastive")


@pytest.mark.parametrize("published", [p for p in Catalogue() if p.manifest.training.recipe.startswith("meta_models/")])
def test_a_card_says_what_its_paper_reports(published: Published) -> None:
    recipe = load_recipe(published.manifest.name)
    assert published.manifest.training.notes.endswith(recipe.beside_paper)
    if (
        recipe.backbone["name"] == "conv4"
        and recipe.input.kind == "drawing"
        and recipe.algorithm["name"] not in BASELINES
    ):
        assert re.search("paper|reached|-vinyals", recipe.beside_paper)


@pytest.mark.parametrize("published", [p for p in Catalogue() if p.manifest.training.recipe.startswith("meta_models/")])
def test_a_recipe_is_of_what_is_published(published: Published) -> None:
    """But for the inner loop, which a search may have chosen."""
    manifest, recipe = published.manifest, load_recipe(published.manifest.name)
    made = [build_algorithm(one.algorithm, one.backbone, one.input.shape) for one in (manifest, recipe)]
    there, here = ({f.name: getattr(one, f.name) for f in fields(one) if f.name != "inner"} for one in made)
    assert str(there.pop("backbone")) == str(here.pop("backbone"))
    assert (there, manifest.version) == (here, recipe.version)


def test_the_readme_has_the_figures_of_the_cards() -> None:
    """Accuracies with two decimals."""
    of_cards = {f"{f.accuracy:.2f} ± {f.ci95:.2f}" for one in Catalogue() for f in one.manifest.benchmarks}
    shown = re.findall(r"\d+\.\d\d ± \d\.\d\d", README)
    assert len(shown) > 50
    assert [figure for figure in shown if figure not in of_cards] == []
