"""Goes on learning once everything is chosen, from training and development classes together.

The code of Prototypical Networks does so for Omniglot (`scripts/train/few_shot/trainval.py` of
https://github.com/jakesnell/prototypical-networks). Nothing can be chosen or measured on development classes after it;
settings, thresholds and calibration stay those that were found before.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from meta_models.meta_train import OnProgress, meta_train
from meta_models.recipe import Recipe
from meta_models.settle import settled
from meta_models.splits import Splits
from meta_models.torch_model import TorchModel

RUN = "all_classes"


def learn_from_all(
    model: TorchModel,
    recipe: Recipe,
    splits: Splits,
    run: Path,
    *,
    device: str | None = None,
    on_progress: OnProgress | None = None,
) -> TorchModel:
    """`outer.all_classes_steps` outer steps more from where `model` is, begun with half of each step size, which
    falls over all of them, in a folder of their own within `run`.

    Learns with the inner loop of `recipe`, by which `model` was trained; what is returned takes the inner steps that
    `model` does, which may have been chosen since.
    """
    before = recipe.outer
    outer = before.model_copy(
        update={
            "steps": before.all_classes_steps,
            "horizon": None,
            "cooldown": 0,
            "outer_lr": before.outer_lr / 2,
            "outer_lr_of": {start: lr / 2 for start, lr in before.outer_lr_of.items()},
            "frozen": before.frozen + before.from_development,
            "from_development": (),
        }
    )
    # Without settings nothing is measured on classes that it learns from.
    development = recipe.development.model_copy(update={"settings": ()})
    more = recipe.model_copy(update={"outer": outer, "development": development, "taught_by": None})
    pools = tuple(a.joined(b) for a, b in zip(splits.train, splits.development, strict=True))

    def told(step: int, figures: dict[str, float]) -> None:
        if on_progress:
            on_progress(before.steps + step, figures)

    every = Splits(pools, (), splits.test)
    learned = meta_train(more, every, run / RUN, start=model.meta_params, device=device, on_progress=told, progress=1.0)
    learned = settled(learned, None, more, pools)
    model.algorithm.backbone.to(learned.device)
    return replace(learned, algorithm=model.algorithm)
