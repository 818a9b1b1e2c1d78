"""Episodes hold what their specification says and nothing leaks between support and query."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Literal

import numpy as np
import pytest
import torch

from meta_models.augment import apply_symmetry
from meta_models.datasets import ClassPool, DataError
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.recipe import load_recipe
from meta_models.sources import check_examples
from meta_models.splits import Splits
from meta_models.training_episodes import draw, fetch_episode


def test_support_and_query_share_no_example(pool: ClassPool) -> None:
    for number in range(50):
        episode = sample_episode(pool, EpisodeSpec(5, 2, 4), 0, number)
        assert not set(episode.support.ravel()) & set(episode.query.ravel())
        assert episode.support.shape == (5, 2)
        assert episode.query.shape == (5, 4)


def test_rows_of_one_class_belong_to_it(pool: ClassPool) -> None:
    episode = sample_episode(pool, EpisodeSpec(6, 1, 3), 0, 0)
    owners = {row: c for c, rows in enumerate(pool.class_examples) for row in rows}
    for support, query in zip(episode.support, episode.query, strict=True):
        assert len({owners[row] for row in [*support, *query]}) == 1


def test_within_one_group(pool: ClassPool) -> None:
    spec = EpisodeSpec(8, 1, 1, within_group=1.0)
    owners = {row: c for c, rows in enumerate(pool.class_examples) for row in rows}
    for number in range(20):
        episode = sample_episode(pool, spec, 0, number)
        groups = {int(pool.class_groups[owners[row]]) for row in episode.support.ravel()}
        assert len(groups) == 1


@pytest.mark.parametrize(("symmetries", "n"), [(False, 1), ("turns", 4), (True, 8)])
def test_no_class_comes_twice_where_several_groups_join(
    pool: ClassPool, symmetries: bool | Literal["turns"], n: int
) -> None:
    for number in range(200):
        spec = EpisodeSpec(24, 1, 1, within_group=1.0, n_groups=3, symmetries=symmetries)
        episode = sample_episode(pool, spec, 0, number)
        seen = list(zip(episode.classes.tolist(), episode.symmetry.tolist(), strict=True))
        assert len(set(seen)) == len(seen)
        assert max(turn for _, turn in seen) < n


def test_a_group_too_small_is_named(pool: ClassPool) -> None:
    with pytest.raises(ValueError, match="no group has 9 classes"):
        sample_episode(pool, EpisodeSpec(9, 1, 1, within_group=1.0), 0, 0)


@pytest.mark.parametrize(("changes", "told"), [({"n_way": 9}, 9), ({"n_way": 30, "n_groups": 2}, 10), ({}, None)])
def test_a_group_too_small_is_told_before_the_first_step(
    pool: ClassPool, changes: dict[str, int], told: int | None
) -> None:
    """Though only some episodes take their classes of one group."""
    episodes = {"n_way": 8, "n_shot": 1, "n_query": 1, "within_group": 0.5, **changes}
    recipe = load_recipe("own-drawings").model_copy(update={"episodes": episodes})
    refused = f"\\[episodes\\] of the recipe .* no group has {told} classes \\(largest: 8\\)"
    with pytest.raises(DataError, match=refused) if told else nullcontext():
        check_examples(Splits((pool,), (pool,), ()), recipe)


def test_an_episode_is_a_function_of_seed_and_number(pool: ClassPool) -> None:
    spec = EpisodeSpec(5, 1, 5, symmetries=True)
    one, same = sample_episode(pool, spec, 3, 7), sample_episode(pool, spec, 3, 7)
    other = sample_episode(pool, spec, 3, 8)
    assert np.array_equal(one.support, same.support)
    assert np.array_equal(one.symmetry, same.symmetry)
    assert not np.array_equal(one.support, other.support)


def test_quarter_turns_make_four_times_the_classes(pool: ClassPool) -> None:
    turned = pool.with_quarter_turns()
    assert turned.n_classes == 4 * pool.n_classes
    first, quarter = turned.class_examples[0][0], turned.class_examples[pool.n_classes][0]
    assert np.array_equal(np.rot90(turned.inputs[first], axes=(1, 2)), turned.inputs[quarter])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"n_groups": 0}, "n_groups of an episode is 0"),
        ({"within_group": 1.5}, "shares, from 0 to 1"),
        ({"label_noise": (0.5, 0.2)}, "shares, from 0 to 1"),
        ({"label_noise": (0.5, 1.2)}, "shares, from 0 to 1"),
    ],
)
def test_what_is_no_episode_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        EpisodeSpec(5, 1, 1, **changes)


@pytest.mark.parametrize(
    ("spec", "n_way"),
    [
        (EpisodeSpec(30, 1, 1), 24),
        (EpisodeSpec(30, 1, 1, within_group=0.5), 24),
        (EpisodeSpec(30, 1, 1, within_group=1), 8),
        (EpisodeSpec(20, 1, 1, within_group=1, n_groups=3), 20),
        (EpisodeSpec(30, 1, 1, instances=True), 30),
        (EpisodeSpec(5, 1, 1, within_group=1), 5),
    ],
)
def test_an_episode_has_no_more_classes_than_its_pool_or_group(pool: ClassPool, spec: EpisodeSpec, n_way: int) -> None:
    fitting = spec.for_pool(pool)
    assert fitting.n_way == n_way
    assert sample_episode(pool, fitting, 0, 0).n_way == n_way


def test_pools_and_kinds_of_episodes_take_turns(pool: ClassPool) -> None:
    """Each class of an episode is named by itself and the symmetry that it is seen under."""
    kinds = [{"n_way": n_way, "n_shot": 2, "n_query": 1, "symmetries": True} for n_way in (3, 5)]
    recipe = load_recipe("own-drawings").model_copy(update={"episodes": kinds})
    pools = tuple(pool.subset(pool.class_groups == group) for group in (0, 1))
    for number, (of, n_way) in enumerate([(0, 3), (1, 3), (0, 5), (1, 5), (0, 3)]):
        drawn = draw(pools, recipe, number)
        assert len(drawn.class_ids) == n_way
        for i, named in enumerate(drawn.class_ids.tolist()):
            own = [2 * i, 2 * i + 1, 2 * n_way + i]  # its support examples and its query
            assert set(drawn.rows[own].tolist()) <= set(pools[of].class_examples[named // 8])
            assert set(drawn.turns[own].tolist()) == {named % 8}


def test_the_last_steps_see_pictures_as_they_are(pool: ClassPool) -> None:
    """Two episodes a step, 40 steps, the last ten of which change nothing."""
    recipe = load_recipe("own-drawings")
    recipe = recipe.model_copy(update={"augment": {**recipe.augment, "elastic": 0.1, "stroke": 0.5, "flip": 1}})
    outer = recipe.outer.model_copy(update={"steps": 40, "meta_batch_size": 2, "unchanged": 0.25})
    recipe = recipe.model_copy(update={"outer": outer})
    inputs = torch.from_numpy(pool.inputs)
    for number, changes in [(0, True), (59, True), (60, False), (79, False)]:
        drawn = draw((pool,), recipe, number)
        found = fetch_episode(inputs, drawn, recipe)
        as_they_are = apply_symmetry(inputs[drawn.rows].float() / 255, drawn.turns)
        examples = torch.cat([found.support_inputs, found.query_inputs])
        assert ((examples - as_they_are).abs().max() > 0.1) == changes
        assert changes or (examples - as_they_are).abs().max() < 1e-4


def test_label_noise_keeps_counts_and_misleads(pool: ClassPool) -> None:
    spec = EpisodeSpec(6, 5, 2, label_noise=(0.4, 0.4))
    episode = sample_episode(pool, spec, 0, 0)
    clean = sample_episode(pool, EpisodeSpec(6, 5, 2), 0, 0)
    assert np.array_equal(episode.support, clean.support)
    wrong = episode.support_labels != np.arange(6)[:, None]
    assert wrong.sum() == 12  # 40% of 30
    assert np.array_equal(np.bincount(episode.support_labels.ravel()), [5] * 6)


def test_wrong_labels_come_from_everywhere(pool: ClassPool) -> None:
    """Exchanged with one neighbour alone, a class would look like another instead of unsure."""
    spec, sources = EpisodeSpec(6, 10, 2, label_noise=(0.5, 0.5)), []
    for number in range(40):
        told = sample_episode(pool, spec, 0, number).support_labels
        for row, labels in enumerate(told):
            wrong = labels[labels != row]
            sources.append(np.bincount(wrong).max() / len(wrong) if len(wrong) else 1.0)
    assert np.mean(sources) < 0.6


def test_instances_are_classes_of_their_own(pool: ClassPool) -> None:
    episode = sample_episode(pool, EpisodeSpec(40, 1, 2, instances=True), 0, 0)
    assert episode.n_way == len(set(episode.support.ravel())) == 40  # more than the pool has classes
    assert np.array_equal(episode.query, episode.support.repeat(2, axis=1))
