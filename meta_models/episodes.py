"""Draws episodes from a pool of classes. Knows numpy only; torch enters where an episode is used.

Every episode is a function of (seed, number), so that a run can be resumed, and a figure reproduced,
from two integers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from meta_models.datasets import ClassPool

N_SYMMETRIES = 8
"""Quarter turns and their mirror images."""


@dataclass(frozen=True)
class EpisodeSpec:
    """How an episode is drawn.

    Attributes:
        n_way: classes an episode. Where a group is smaller than its share, the episode has fewer.
        n_shot: support examples a class.
        n_query: query examples a class.
        within_group: probability that classes come from few groups instead of anywhere;
            1 with `n_groups` 1 is protocol L (all classes from one alphabet).
        n_groups: groups that share such an episode.
        symmetries: turn and mirror whole groups (or single classes where there are none) into new ones; sounds run
            backwards. `"turns"` does not mirror.
        label_noise: range from which an episode draws the share of its support examples that get a wrong label.
        instances: every image is a class of its own, and its queries are the same image again, so that augmentation
            makes the only difference and no label is used (Dosovitskiy et al. 2014, arXiv:1406.6909).
    """

    n_way: int
    n_shot: int
    n_query: int
    within_group: float = 0.0
    n_groups: int = 1
    symmetries: bool | Literal["turns"] = False
    label_noise: tuple[float, float] = (0.0, 0.0)
    instances: bool = False

    def __post_init__(self) -> None:
        least = {"n_way": 2, "n_shot": 1, "n_query": 1, "n_groups": 1}
        for field, number in least.items():
            if getattr(self, field) < number:
                raise ValueError(f"{field} of an episode is {getattr(self, field)}; it must be at least {number}")
        if not 0 <= self.within_group <= 1 or not 0 <= self.label_noise[0] <= self.label_noise[1] <= 1:
            raise ValueError("within_group and label_noise of an episode are shares, from 0 to 1")

    @property
    def n_symmetries(self) -> int:
        """Under how many of them a class may be seen."""
        return {False: 1, "turns": N_SYMMETRIES // 2, True: N_SYMMETRIES}[self.symmetries]

    @property
    def n_examples(self) -> int:
        """Of each class."""
        return 1 if self.instances else self.n_shot + self.n_query

    def for_pool(self, pool: ClassPool) -> EpisodeSpec:
        """With no more classes than an episode of this pool can have."""
        sizes = np.bincount(pool.class_groups)
        most = int(sizes.max()) if self.within_group == 1 and self.n_groups == 1 else pool.n_classes
        return self if self.n_way <= most or self.instances else replace(self, n_way=most)


@dataclass(frozen=True)
class EpisodeRows:
    """An episode as rows of a pool's `inputs`.

    Attributes:
        support: (n_way, n_shot) rows.
        query: (n_way, n_query) rows.
        symmetry: (n_way,) which of the eight symmetries each class is seen under.
        classes: (n_way,) index of each class in the pool; of each image, where images are classes.
        support_labels: (n_way, n_shot) what adapting is told; `i` in row `i` but for label noise.
    """

    support: NDArray[np.int64]
    query: NDArray[np.int64]
    symmetry: NDArray[np.int64]
    classes: NDArray[np.int64]
    support_labels: NDArray[np.int64]

    @property
    def n_way(self) -> int:
        return len(self.support)


def sample_episode(pool: ClassPool, spec: EpisodeSpec, seed: int, number: int) -> EpisodeRows:
    """Draw episode `number` of the stream named by `seed`."""
    rng = np.random.default_rng((seed, number))
    if spec.instances:
        return _instances(pool, spec, rng)
    if spec.within_group > 0 and rng.random() < spec.within_group:
        classes, symmetry = _classes_by_group(pool, spec, rng)
    else:
        classes = rng.choice(pool.n_classes, min(spec.n_way, pool.n_classes), replace=False)
        symmetry = rng.integers(N_SYMMETRIES, size=len(classes))
    symmetry = symmetry % spec.n_symmetries
    rows = np.stack(
        [rng.choice(pool.class_examples[c], spec.n_shot + spec.n_query, replace=False, shuffle=True) for c in classes]
    )
    labels = np.arange(len(classes))[:, None].repeat(spec.n_shot, axis=1)
    if spec.label_noise[1] > 0:
        labels = _mislabel(labels, rng.uniform(*spec.label_noise), rng)
    return EpisodeRows(rows[:, : spec.n_shot], rows[:, spec.n_shot :], symmetry, classes, labels)


def _mislabel(labels: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Exchange labels at random among a share of the examples; every class keeps its count.

    Each of them gets the label of another class, unless one class holds more than half of them.
    """
    flat = labels.ravel().copy()
    chosen = rng.permutation(len(flat))[: round(share * len(flat))]
    own = flat[chosen]
    given = rng.permutation(own)
    for one in np.flatnonzero(given == own):
        others = np.flatnonzero((given != own[one]) & (own != given[one]))
        if given[one] == own[one] and len(others):
            other = rng.choice(others)
            given[one], given[other] = given[other], given[one]
    flat[chosen] = given
    return flat.reshape(labels.shape)


def _instances(pool: ClassPool, spec: EpisodeSpec, rng: np.random.Generator) -> EpisodeRows:
    known = np.concatenate(pool.class_examples)
    rows = rng.choice(known, min(spec.n_way, len(known)), replace=False)
    symmetry = rng.integers(N_SYMMETRIES, size=len(rows)) % spec.n_symmetries
    labels = np.arange(len(rows))[:, None].repeat(spec.n_shot, axis=1)
    return EpisodeRows(
        rows[:, None].repeat(spec.n_shot, axis=1), rows[:, None].repeat(spec.n_query, axis=1), symmetry, rows, labels
    )


def groups_for(pool: ClassPool, spec: EpisodeSpec) -> tuple[int, NDArray[np.int64]]:
    """How many classes of a group an episode takes, where it takes them by group, and the groups that may be drawn.

    Raises:
        ValueError: none is large enough.
    """
    share = -(-spec.n_way // spec.n_groups)
    sizes = np.bincount(pool.class_groups)
    # One group must fill the episode by itself; where several share it, small groups may join too.
    least = share if spec.n_groups == 1 else min(share, 10)
    if sizes.max() < least:
        raise ValueError(f"no group has {least} classes (largest: {sizes.max()}); lower n_way or raise n_groups")
    return share, np.flatnonzero(sizes >= least)


def _classes_by_group(
    pool: ClassPool, spec: EpisodeSpec, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    share, eligible = groups_for(pool, spec)
    groups = list(rng.choice(eligible, spec.n_groups, replace=len(eligible) < spec.n_groups))
    classes, symmetry = [], []
    seen: set[tuple[int, int]] = set()
    for turn in rng.permutation(N_SYMMETRIES):  # another for each group, so no class comes twice
        if not groups:
            groups.append(rng.choice(eligible))  # small ones left room
        group = groups.pop(0)
        if (group, turn % spec.n_symmetries) in seen:
            continue
        seen.add((group, turn % spec.n_symmetries))
        members = np.flatnonzero(pool.class_groups == group)
        chosen = rng.choice(members, min(share, len(members)), replace=False)
        classes.append(chosen)
        symmetry.append(np.full(len(chosen), turn))
        if sum(map(len, classes)) >= spec.n_way:
            break
    return np.concatenate(classes)[: spec.n_way], np.concatenate(symmetry)[: spec.n_way]
