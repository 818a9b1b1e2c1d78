"""From the data table of a recipe to classes: what to learn from, what to choose by, what to report and how."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from meta_models.datasets import DataError, Omniglot, load_omniglot
from meta_models.episodes import groups_for
from meta_models.inputs import DrawingSpec
from meta_models.own_classes import load_classes, part_of
from meta_models.pretrained import ENCODERS
from meta_models.recipe import Recipe
from meta_models.splits import Protocol, Splits

CACHE = Path("runs/cache")
FILES = ("*.jsonl", "*.json", "*.zip", "*.npz", "*.part", "*.tar.gz", "downloads", *ENCODERS)
"""Of data sets, of archives they come in and of what is made of them; classes of one's own are folders."""


def load_splits(data: Path, recipe: Recipe, cache: Path = CACHE) -> Splits:
    """The classes of a recipe.

    Args:
        data: folder of the data, which is filled where a data set can be downloaded.
        recipe: names the data and how they are split.
        cache: folder for what takes long to compute from them.

    Raises:
        DataError: the data is absent, damaged or too small.
    """
    if recipe.data.name == "vectors":
        from meta_models.vector_sources import vector_splits

        return vector_splits(data, cache)
    if recipe.data.name == "sounds":
        from meta_models.sound_sources import sound_splits

        return sound_splits(data, recipe)
    if recipe.data.name == "photos":
        from meta_models.photo_sources import photo_splits

        return photo_splits(data, recipe)
    if recipe.data.name == "text":
        from meta_models.text_sources import text_splits

        return text_splits(data, recipe)
    if recipe.data.name == "folder":
        pool = load_classes(data, recipe.input)
        part = part_of(pool.class_names)
        train, development, test = (pool.subset(part == number) for number in range(3))
        return Splits((train,), (development,), (Protocol("own classes", test, 0.0),))
    return split(load_omniglot(data), recipe)


def check_folder(data: Path, recipe: Recipe) -> None:
    """Whether the files of a data set may be put into folder `data`: to find out before anything is.

    Raises:
        DataError: it is a file, or holds something else, such as classes of one's own.
    """
    if recipe.data.name == "folder" or not data.exists():
        return
    if not data.is_dir():
        raise DataError(f"{data} is a file; {recipe.name} learns from {recipe.data.name}: give --data a folder for it")
    held = {path.name for path in data.iterdir() if not path.name.startswith(".")}
    if held and not any(fnmatch(name, known) for name in held for known in FILES):
        raise DataError(
            f"{data} holds {min(held)} and nothing of a data set, and {recipe.name} learns from {recipe.data.name}: "
            'give --data another folder, or an empty one; from your own classes learn recipes with data.name = "folder"'
        )


def check_examples(splits: Splits, recipe: Recipe) -> None:
    """Whether the smallest class and the largest group fill the episodes of the recipe: to find out before the first
    step, not after hours.

    Raises:
        DataError: they do not; the message names the class, or tells the size of the group.
    """
    chosen_by = [recipe.development_spec(*setting) for setting in recipe.development.settings]
    for pools, specs, what in (
        (splits.train, recipe.episode_specs, "episodes"),
        (splits.development, chosen_by, "development"),
    ):
        wanted = max((spec.n_examples for spec in specs), default=0)
        for pool in pools:
            smallest = min(range(pool.n_classes), key=lambda c: len(pool.class_examples[c]))
            if (n := len(pool.class_examples[smallest])) < wanted:
                raise DataError(
                    f"class {pool.class_names[smallest]!r} has {n} examples, and [{what}] of the recipe takes {wanted} "
                    "of each class for one episode: give it more, or lower n_shot and n_query there"
                )
            for spec in (spec.for_pool(pool) for spec in specs if spec.within_group > 0 and not spec.instances):
                try:
                    groups_for(pool, spec)
                except ValueError as error:
                    raise DataError(f"[{what}] of the recipe takes classes of one group: {error}") from error


def split(omniglot: Omniglot, recipe: Recipe) -> Splits:
    """The recipe's protocol: L (background against evaluation alphabets) or V (Vinyals et al. 2016)."""
    if not isinstance(recipe.input, DrawingSpec):
        raise ValueError(f"Omniglot holds drawings, the recipe {recipe.name} reads {recipe.input.kind}")
    pool = omniglot.pool(recipe.input)
    if recipe.data.split == "vinyals":
        train, development, test = (pool.subset(omniglot.vinyals_split == part) for part in range(3))
        upright, rotated = Protocol("V upright", test, 0.0), Protocol("V rotated", test.with_quarter_turns(), 0.0)
        return Splits((train,), (development,), (upright, rotated))
    known = {omniglot.alphabet_names[number] for number in omniglot.alphabet[omniglot.is_background]}
    if unknown := sorted(set(recipe.data.development_groups) - known):
        raise DataError(
            f"development_groups: {', '.join(unknown)} is no background alphabet of Omniglot; those are "
            f"{', '.join(sorted(known))}"
        )
    held_out = {omniglot.alphabet_names.index(name) for name in recipe.data.development_groups}
    is_held_out = np.isin(omniglot.alphabet, sorted(held_out))
    return Splits(
        (pool.subset(omniglot.is_background & ~is_held_out),),
        (pool.subset(omniglot.is_background & is_held_out),),
        (Protocol("L", pool.subset(~omniglot.is_background), 1.0),),
    )
