"""Which classes a recipe learns from, chooses by and reports: from a folder of data to pools of classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meta_models.datasets import ClassPool, Omniglot, load_omniglot
from meta_models.inputs import DrawingSpec
from meta_models.recipe import Recipe

Pools = tuple[ClassPool, ...]


@dataclass(frozen=True)
class Splits:
    """Classes to learn from, to choose by, and to report, by protocol; they share no class.

    An episode comes from one pool: pools may hold inputs of different kinds.
    """

    train: Pools
    development: Pools
    test: dict[str, ClassPool]


def load_splits(recipe: Recipe, data: Path, cache: Path) -> Splits:
    """The classes of a recipe.

    Args:
        recipe: names the data and how they are split.
        data: folder of the data sets; what can be downloaded is, where it is missing.
        cache: folder for what takes long to compute from them.

    Raises:
        DataError: a data set is absent or damaged.
    """
    if recipe.data.name == "vectors":
        from meta_models.vector_sources import vector_splits

        return vector_splits(data, cache)
    return split(load_omniglot(data), recipe)


def split(omniglot: Omniglot, recipe: Recipe) -> Splits:
    """The recipe's protocol: L (background against evaluation alphabets) or V (Vinyals et al. 2016)."""
    if not isinstance(recipe.input, DrawingSpec):
        raise ValueError(f"Omniglot holds drawings, the recipe {recipe.name} reads {recipe.input.kind}")
    pool = omniglot.pool(recipe.input)
    if recipe.data.split == "vinyals":
        train, development, test = (pool.subset(omniglot.vinyals_split == part) for part in range(3))
        return Splits((train,), (development,), {"V upright": test, "V rotated": test.with_quarter_turns()})
    held_out = {omniglot.alphabet_names.index(name) for name in recipe.data.development_groups}
    development = np.isin(omniglot.alphabet, sorted(held_out))
    return Splits(
        (pool.subset(omniglot.is_background & ~development),),
        (pool.subset(omniglot.is_background & development),),
        {"L": pool.subset(~omniglot.is_background)},
    )
