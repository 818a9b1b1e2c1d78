"""A finished run whose answers another run learns besides the labels.

Born-again networks (Furlanello et al. 2018, arXiv:1805.04770), which Tian et al. (2020, arXiv:2003.11539) put before
few-shot learning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch

from meta_models import checkpoint
from meta_models.algorithms import Episode, Tensors
from meta_models.algorithms.initialization import poured
from meta_models.algorithms.pretrain import Pretrain
from meta_models.checkpoint import CHECKPOINT, RECIPE
from meta_models.recipe import Recipe
from meta_models.same_run import learn_from_the_same
from meta_models.torch_model import build_algorithm


@dataclass(frozen=True)
class Teacher:
    """A classifier of all training classes, as it ended."""

    classifier: Pretrain
    meta_params: Tensors

    @classmethod
    def of_run(cls, run: Path, learner: Recipe, learning: Path, device: torch.device) -> Self:
        """From a run's folder, for who learns by the recipe `learner` in the folder `learning`.

        Raises:
            FileNotFoundError: the run is not there, or not at its end.
            ValueError: one of the two is no classifier, or they do not number the same classes.
        """
        path = run / CHECKPOINT
        if not path.exists():
            raise FileNotFoundError(f"no run in {run} to learn from; run `innerloop meta-train {run.name}` first")
        recipe = Recipe.model_validate_json((run / RECIPE).read_text())
        state = checkpoint.load(path, device)
        if state.step < recipe.outer.steps:
            raise FileNotFoundError(f"the run in {run} ended at step {state.step} of {recipe.outer.steps}; finish it")
        classifier = build_algorithm(recipe.algorithm, recipe.backbone, recipe.input.shape)
        if not isinstance(classifier, Pretrain) or learner.algorithm["name"] != Pretrain.name:
            raise ValueError(f"{recipe.name} cannot teach {learner.name}: both must be classifiers of all classes")
        if _classes(recipe) != _classes(learner) or not learn_from_the_same(run, learning):
            raise ValueError(f"{recipe.name} cannot teach {learner.name}: their classes differ")
        classifier.backbone.to(device)
        return cls(classifier, state.average)

    @torch.no_grad()
    def __call__(self, episode: Episode) -> Episode:
        """The episode with the teacher's logits of its examples."""
        inputs, _ = poured(episode)
        return replace(episode, taught=self.classifier.class_logits(self.meta_params, inputs, training=False))


def _classes(recipe: Recipe) -> tuple[object, ...]:
    """What the number of a class means, as far as a recipe says: whose it is, and how it is turned."""
    turned = {spec.symmetries for spec in recipe.episode_specs}
    return recipe.data, recipe.algorithm.get("n_classes"), turned
