"""Training episodes in two halves: drawn on the CPU, then fetched and augmented where the data are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from meta_models.algorithms import Episode
from meta_models.augment import AugmentSpec, apply_symmetry, change, draw_numbers
from meta_models.augment_sound import SoundAugmentSpec, random_sound, turned
from meta_models.augment_text import TextAugmentSpec, change_names
from meta_models.episodes import N_SYMMETRIES, sample_episode
from meta_models.inputs import TextSpec
from meta_models.recipe import Recipe
from meta_models.splits import Pools
from meta_models.torch_model import as_floats


@dataclass(frozen=True)
class Drawn:
    """What one training episode is, in small tensors.

    Attributes:
        rows: (n,) of the pool's inputs, support examples first, class by class.
        turns: (n,) the symmetry each is seen under.
        support_labels: (n_support,).
        class_ids: (n_way,) which class under which symmetry each one is.
        numbers: (k, n) of the augmentation; empty where it is not of pictures.
        number: of the episode.
    """

    rows: Tensor
    turns: Tensor
    support_labels: Tensor
    class_ids: Tensor
    numbers: Tensor
    number: int

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.rows, self.turns, self.support_labels, self.class_ids, self.numbers)


def draw(pools: Pools, recipe: Recipe, number: int) -> Drawn:
    """Training episode `number`; pools and kinds of episodes take turns."""
    pool = pools[number % len(pools)]
    specs = recipe.episode_specs
    rows = sample_episode(pool, specs[number // len(pools) % len(specs)].for_pool(pool), recipe.outer.seed, number)
    n_shot, n_query = rows.support.shape[1], rows.query.shape[1]
    order = np.concatenate([rows.support.ravel(), rows.query.ravel()])
    augment, numbers = recipe.augment_spec, torch.empty(0, len(order))
    if isinstance(augment, AugmentSpec) and pool.inputs.ndim == 4:
        numbers = draw_numbers(len(order), augment, _generator(recipe, number))
        if number // recipe.outer.meta_batch_size >= (1 - recipe.outer.unchanged) * recipe.outer.steps:
            numbers.zero_()  # no change, in a step that is recorded too
    return Drawn(
        torch.from_numpy(order),
        torch.from_numpy(np.concatenate([rows.symmetry.repeat(n_shot), rows.symmetry.repeat(n_query)])),
        torch.from_numpy(rows.support_labels.ravel()),
        torch.from_numpy(rows.classes * N_SYMMETRIES + rows.symmetry),
        numbers,
        number,
    )


def fetch_episode(inputs: Tensor, drawn: Drawn, recipe: Recipe) -> Episode:
    """The drawn examples of a pool's `inputs`, augmented; everything is on one device."""
    n_way, n_support = len(drawn.class_ids), len(drawn.support_labels)
    examples, augment = as_floats(inputs[drawn.rows]), recipe.augment_spec
    if len(drawn.numbers) and isinstance(augment, AugmentSpec):
        examples = change(apply_symmetry(examples, drawn.turns), augment, drawn.numbers)
        examples = examples.clone(memory_format=torch.channels_last)
    elif isinstance(augment, SoundAugmentSpec):
        examples = random_sound(turned(examples, drawn.turns), augment, _generator(recipe, drawn.number))
    support = examples[:n_support]
    if isinstance(augment, TextAugmentSpec) and isinstance(recipe.input, TextSpec):
        generator = _generator(recipe, drawn.number)
        support = change_names(support, n_support // n_way, recipe.input.max_tokens, augment, generator)
    classes = torch.arange(n_way, device=inputs.device)
    return Episode(
        support,
        drawn.support_labels,
        examples[n_support:],
        classes.repeat_interleave((len(drawn.rows) - n_support) // n_way),
        n_way,
        drawn.class_ids,
    )


def _generator(recipe: Recipe, number: int) -> torch.Generator:
    return torch.Generator().manual_seed(recipe.outer.seed * 1_000_003 + number)
