"""Where vectors to meta-tune on come from: pools that keep classes apart, and words where something is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meta_models import text_downloads
from meta_models.datasets import DataError
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.recipe import load_recipe
from meta_models.sources import load_splits
from meta_models.vector_sources import Embedded, random_features, table


def embedded() -> Embedded:
    """Six classes in two groups, four rows each, in a shuffled order; a row says its class and group."""
    labels = np.random.default_rng(0).permutation(np.arange(6).repeat(4))
    vectors = np.stack([labels, labels // 3], 1).astype(np.float32)
    return Embedded(vectors, labels, labels // 3)


def test_a_pool_holds_its_own_classes_by_group() -> None:
    pool = embedded().pool(np.isin(embedded().labels, [0, 1, 4, 5]))
    assert pool.class_names == ("0", "1", "4", "5")
    assert len(pool.inputs) == 16
    for name, rows in zip(pool.class_names, pool.class_examples, strict=True):
        assert set(pool.inputs[rows, 0]) == {float(name)}
    assert pool.class_groups.tolist() == [0, 0, 1, 1]
    episode = sample_episode(pool, EpisodeSpec(2, 1, 2, within_group=1.0), 0, 0)
    assert len({pool.inputs[row, 1] for row in episode.query.ravel()}) == 1


def test_fewer_classes_where_a_pool_has_fewer() -> None:
    spec = EpisodeSpec(20, 1, 1, within_group=1.0)
    assert spec.for_pool(embedded().pool()).n_way == 3  # of one group
    assert EpisodeSpec(20, 1, 1).for_pool(embedded().pool()).n_way == 6
    assert EpisodeSpec(2, 1, 1).for_pool(embedded().pool()).n_way == 2


def test_random_features_keep_examples_and_classes() -> None:
    pool = table("wine").pool()
    made = random_features(pool, 50, 1)
    assert made.inputs.shape == (178, 50)
    assert made.class_names == pool.class_names
    np.testing.assert_array_equal(made.inputs, random_features(pool, 50, 1).inputs)
    spreads = made.inputs.std(0)
    assert spreads.max() / np.median(spreads) > 3  # units of their own


def test_a_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_downloads, "SITE", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"cannot download .*labels\.train\.txt.* by hand"):
        load_splits(tmp_path, load_recipe("vector-ridge"), tmp_path / "cache")
