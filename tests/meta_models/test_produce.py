"""A recipe becomes a published folder whose card says how it came about; what is done is not done again."""

from __future__ import annotations

from pathlib import Path

from meta_models.catalogue import Catalogue
from meta_models.checkpoint import CHECKPOINT
from meta_models.manifest import META_PARAMS_FILE
from meta_models.produce import produce
from meta_models.recipe import load_recipe

STEPS, ALL_CLASSES_STEPS, EPISODES = 2, 3, 4


def test_from_a_folder_to_a_card(pictures: Path, tmp_path: Path) -> None:
    recipe = load_recipe("own-drawings")
    outer = recipe.outer.model_copy(update={"steps": STEPS, "all_classes_steps": ALL_CLASSES_STEPS})
    small = {"backbone": {"name": "conv4", "width": 8}, "initialize_from": None, "outer": outer}
    recipe = recipe.model_copy(update={**small, "episodes": {"n_way": 5, "n_shot": 1, "n_query": 2}})
    seen: list[int] = []

    def make() -> None:
        produce(
            recipe,
            pictures,
            tmp_path / "run",
            zoo=tmp_path / "zoo",
            episodes=EPISODES,
            device="cpu",
            say=lambda _: None,
            on_progress=lambda step, _: seen.append(step),
        )

    make()
    assert seen == list(range(1, STEPS + ALL_CLASSES_STEPS + 1))
    manifest = Catalogue(tmp_path / "zoo").resolve("own-drawings").manifest
    assert manifest.training.steps == STEPS + ALL_CLASSES_STEPS
    assert "learned from development classes too" in manifest.training.notes
    assert manifest.calibration
    assert {(figure.episodes, figure.protocol) for figure in manifest.benchmarks} == {(EPISODES, "own classes")}

    checkpoints = {path: path.read_bytes() for path in (tmp_path / "run").rglob(CHECKPOINT)}
    make()
    assert len(seen) == STEPS + ALL_CLASSES_STEPS
    assert {path: path.read_bytes() for path in checkpoints} == checkpoints
    again = Catalogue(tmp_path / "zoo").resolve("own-drawings").manifest
    assert again.files[META_PARAMS_FILE] == manifest.files[META_PARAMS_FILE]
    assert again.model_copy(update={"files": manifest.files}) == manifest
