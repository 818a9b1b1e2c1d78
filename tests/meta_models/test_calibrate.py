"""What is fitted on development episodes, where a classifier's right temperature and thresholds are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from meta_models.algorithms import InnerSettings
from meta_models.calibrate import N_QUERY, calibrate
from meta_models.datasets import ClassPool
from meta_models.episodes import EpisodeSpec
from meta_models.evaluate import episode_logits
from meta_models.manifest import Calibration

N_CLASSES, N_EXAMPLES, N_WAY, TOO_SURE = 12, 40, 3, 3.0


class TooSure:
    """Knows where classes are, and answers with `TOO_SURE` times the logarithm of their likelihood: a row holds its
    class's place and an example with noise of one unit around it."""

    shares_body = False
    adapted_to: set[tuple[int, ...]]

    def __init__(self) -> None:
        self.adapted_to = set()

    def support_features(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return inputs

    def adapt(
        self, features: NDArray[np.float32], labels: NDArray[np.int64], n_way: int, inner: InnerSettings | None
    ) -> dict[str, NDArray[np.float32]]:
        self.adapted_to.add((n_way, *labels))
        return {"places": np.stack([features[labels == label, 0].mean(0) for label in range(n_way)])}

    def logits(self, adapted: dict[str, NDArray[np.float32]], features: NDArray[np.float32]) -> NDArray[np.float32]:
        return -TOO_SURE / 2 * ((features[:, None, 1] - adapted["places"]) ** 2).sum(2)


@pytest.fixture(scope="module")
def places() -> ClassPool:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(N_CLASSES, 1, 4)).repeat(N_EXAMPLES, 1)
    rows = np.stack([centers, centers + rng.normal(size=centers.shape)], axis=2).reshape(-1, 2, 4).astype(np.float32)
    of_class = tuple(np.arange(len(rows)).reshape(N_CLASSES, N_EXAMPLES))
    return ClassPool(rows, of_class, tuple(map(str, range(N_CLASSES))), np.zeros(N_CLASSES, np.int64))


@pytest.fixture(scope="module")
def fitted(places: ClassPool) -> Calibration:
    [entry] = calibrate(TooSure(), (places,), 400, grid=((N_WAY, 1),))
    return entry


def best_logits(places: ClassPool, n_way: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of queries of classes that are there, and of one that is not, in episodes that nothing was fitted on."""
    classifier, known, unseen = TooSure(), [], []
    for logits, labels in episode_logits(classifier, places, EpisodeSpec(n_way + 1, 1, 5), 400, seed=9):
        best = logits[:, :n_way].max(1)
        known.append(best[labels < n_way])
        unseen.append(best[labels == n_way])
    return np.concatenate(known), np.concatenate(unseen)


def test_the_temperature_takes_back_what_is_too_sure(fitted: Calibration) -> None:
    assert fitted.temperature == pytest.approx(TOO_SURE, rel=0.15)
    assert fitted.expected_calibration_error < 0.03


def test_a_threshold_turns_away_its_share_of_known_queries(fitted: Calibration, places: ClassPool) -> None:
    known, unseen = best_logits(places, N_WAY)
    for share in (0.02, 0.05, 0.1, 0.3, 0.5):
        assert (known < fitted.reject_below(share)).mean() == pytest.approx(share, abs=0.02 + 0.1 * share)
    assert (unseen < fitted.rejection_logit).mean() > 0.2
    above = (known[:, None] > unseen[None, ::7]).mean()
    assert fitted.unseen_auroc == pytest.approx(above, abs=0.03)


def test_the_class_whose_queries_are_unseen_is_not_adapted_to(places: ClassPool) -> None:
    classifier = TooSure()
    fitted = calibrate(classifier, (places,), 3, grid=((N_WAY, 2), (N_CLASSES - 1, 1)))
    assert [(entry.n_way, entry.n_shot) for entry in fitted] == [(N_WAY, 2), (N_CLASSES - 1, 1)]
    assert classifier.adapted_to == {(N_WAY, 0, 0, 1, 1, 2, 2), (N_CLASSES - 1, *range(N_CLASSES - 1))}


def test_settings_without_a_class_or_an_example_to_spare_get_no_entry(places: ClassPool) -> None:
    grid = ((N_CLASSES, 1), (2, N_EXAMPLES - N_QUERY), (2, N_EXAMPLES - N_QUERY + 1))
    [entry] = calibrate(TooSure(), (places,), 1, grid=grid)
    assert (entry.n_way, entry.n_shot) == grid[1]
