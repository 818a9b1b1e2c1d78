"""Calibration between the settings that were measured."""

from __future__ import annotations

import math

import numpy as np
import pytest

from meta_models import between
from meta_models.catalogue import Catalogue
from meta_models.manifest import Calibration, Manifest
from meta_models.torch_model import TorchModel

SETTINGS = ((2, 1), (2, 5), (5, 1), (5, 5), (20, 1), (20, 5))


def weights(n_way: float, n_shot: float) -> np.ndarray:
    return between.weights(between.ramps(SETTINGS), math.log(n_way), 1 / n_shot)


@pytest.mark.parametrize("at", range(len(SETTINGS)))
def test_what_was_measured_is_itself(at: int) -> None:
    np.testing.assert_allclose(weights(*SETTINGS[at]), np.eye(len(SETTINGS))[at], atol=1e-12)


@pytest.mark.parametrize("n_way", [2, 3, 7, 20, 90])
@pytest.mark.parametrize("n_shot", [1, 1.5, 2, 5, 30, 500])
def test_weights_are_linear_in_both(n_way: int, n_shot: float) -> None:
    of = weights(n_way, n_shot)
    assert of.sum() == pytest.approx(1)
    inside = min(n_way, 20)
    assert of @ [math.log(way) for way, _ in SETTINGS] == pytest.approx(math.log(inside))
    assert of @ [1 / shot for _, shot in SETTINGS] == pytest.approx(1 / n_shot)


def test_one_setting_serves_all() -> None:
    assert between.weights(between.ramps(((5, 1),)), math.log(9), 1 / 3) == pytest.approx([1])


def test_temperatures_and_thresholds_lie_between() -> None:
    manifest = Catalogue().resolve("vector-prototype").manifest
    one, five, two = (manifest.calibration_for(5, n_shot) for n_shot in (1, 5, 2))
    assert five.temperature < two.temperature < one.temperature
    for share in (None, 0.01, 0.3):
        assert one.reject_below(share) < two.reject_below(share) < five.reject_below(share)
    assert manifest.calibration_for(5, 40).rejection_logit > five.rejection_logit


def test_entries_without_several_thresholds_still_serve() -> None:
    manifest = Catalogue().resolve("vector-prototype").manifest
    old = tuple(entry.model_copy(update={"rejection_logits": ()}) for entry in manifest.calibration)
    mixed: tuple[Calibration, ...] = (*old[:1], *manifest.calibration[1:])
    for entries in (old, mixed):
        found = manifest.model_copy(update={"calibration": entries}).calibration_for(5, 2)
        assert found.rejection_logits == ()
        assert found.rejection_logit == pytest.approx(manifest.calibration_for(5, 2).rejection_logit)


def unseen_rejected(model: TorchModel, manifest: Manifest, n_shot: int) -> tuple[float, float]:
    """Shares of the queries of known classes and of a class that was not there that are rejected."""
    rng, n_way = np.random.default_rng(0), 5
    known, unseen = [], []
    for _ in range(40):
        centers = rng.normal(size=(n_way + 1, 64))
        labels = np.arange(n_way).repeat(n_shot)
        rows = np.concatenate([labels, np.arange(n_way + 1).repeat(5)])
        features = model.features((centers[rows] + 0.7 * rng.normal(size=(len(rows), 64))).astype(np.float32))
        adapted = model.adapt(features[: len(labels)], labels, n_way)
        best = model.logits(adapted, features[len(labels) :]).max(1)
        rejected = best < manifest.calibration_for(n_way, n_shot).rejection_logit
        known.append(rejected[:-5].mean())
        unseen.append(rejected[-5:].mean())
    return float(np.mean(known)), float(np.mean(unseen))


def test_two_examples_a_class_reject_as_others_do() -> None:
    published = Catalogue().resolve("vector-prototype")
    model = TorchModel.load(published.folder, published.manifest)
    for n_shot in (2, 3, 10):
        known, unseen = unseen_rejected(model, published.manifest, n_shot)
        assert known < 0.1
        assert unseen > 0.5
