"""From the data table of a recipe to classes: what to learn from, what to choose by, what to report and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meta_models.datasets import ClassPool, Omniglot, load_omniglot
from meta_models.own_classes import load_classes, part_of
from meta_models.recipe import Recipe


@dataclass(frozen=True)
class Splits:
    """Classes to learn from, to choose by, and to report; no reported class is among the others."""

    train: ClassPool
    development: ClassPool
    test: ClassPool


@dataclass(frozen=True)
class Protocol:
    """How test classes are drawn: from `pool`, with probability `within_group` all from one group."""

    name: str
    pool: ClassPool
    within_group: float


def load_splits(data: Path, recipe: Recipe) -> Splits:
    """The classes of a recipe from folder `data`, which is filled where a data set can be downloaded.

    Raises:
        DataError: the data is absent, damaged or too small.
    """
    if recipe.data.name == "folder":
        pool = load_classes(data, recipe.input)
        part = part_of(pool.class_names)
        return Splits(*(pool.subset(part == number) for number in range(3)))
    return split(load_omniglot(data), recipe)


def split(omniglot: Omniglot, recipe: Recipe) -> Splits:
    """The recipe's protocol: L (background against evaluation alphabets) or V (Vinyals et al. 2016)."""
    pool = omniglot.pool(recipe.input)
    if recipe.data.split == "vinyals":
        return Splits(*(pool.subset(omniglot.vinyals_split == part) for part in range(3)))
    held_out = {omniglot.alphabet_names.index(name) for name in recipe.data.development_groups}
    is_held_out = np.isin(omniglot.alphabet, sorted(held_out))
    development = pool.subset(omniglot.is_background & is_held_out)
    train = pool.subset(omniglot.is_background & ~is_held_out)
    learned = development if recipe.data.learn_from == "development" else train
    return Splits(learned, development, pool.subset(~omniglot.is_background))


def protocols(recipe: Recipe, test: ClassPool) -> Iterator[Protocol]:
    """What the card of a recipe reports on its test classes."""
    if recipe.data.name == "folder":
        yield Protocol("own classes", test, 0.0)
    elif recipe.data.split == "background":
        yield Protocol("L", test, 1.0)
    else:
        yield Protocol("V upright", test, 0.0)
        yield Protocol("V rotated", test.with_quarter_turns(), 0.0)
