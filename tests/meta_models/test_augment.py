"""Augmentation: nothing where nothing is asked for, and each change does what it says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from meta_models.augment import AugmentSpec, change, draw_numbers


def changed(images: Tensor, seed: int = 0, **options: Any) -> Tensor:
    spec = AugmentSpec(**options)
    return change(images, spec, draw_numbers(len(images), spec, torch.Generator().manual_seed(seed)))


@pytest.fixture
def photographs() -> Tensor:
    return torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def strokes() -> Tensor:
    images = torch.zeros(40, 1, 16, 16)
    images[:, :, 4:12, 7:9] = 1
    return images


def test_nothing_asked_changes_nothing(photographs: Tensor) -> None:
    torch.testing.assert_close(changed(photographs), photographs, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "options",
    [{"rotation": 20}, {"scale": 0.3}, {"shear": 0.3}, {"shift": 0.2}, {"elastic": 0.1}, {"stroke": 0.8}, {"ink": 0.3}],
)
def test_each_image_changes_in_its_own_way(strokes: Tensor, options: dict[str, float]) -> None:
    found = changed(strokes, **options)
    assert found.min() >= 0
    assert found.max() <= 1
    assert len({image.numpy().tobytes() for image in found}) > 20


def test_a_shift_alone_is_by_whole_pixels(photographs: Tensor) -> None:
    found = changed(photographs, shift=0.2)
    for image, was in zip(found, photographs, strict=True):
        middle, anywhere = image[:, 8, 8], was.flatten(1)
        assert (anywhere - middle[:, None]).abs().amax(0).min() < 1e-4


def test_half_of_the_images_are_mirrored(photographs: Tensor) -> None:
    found = changed(photographs, flip=1)
    as_were, mirrored = (
        torch.isclose(found, other, atol=1e-5).flatten(1).all(1) for other in (photographs, photographs.flip(3))
    )
    assert bool((as_were | mirrored).all())
    assert 10 < int(mirrored.sum()) < 30


def test_strokes_become_thicker_or_thinner(strokes: Tensor) -> None:
    ink = changed(strokes, stroke=0.8).sum((1, 2, 3)) / strokes.sum((1, 2, 3))
    assert ink.min() < 0.8
    assert ink.max() > 1.2


def test_a_square_is_erased_somewhere(photographs: Tensor) -> None:
    grey = (changed(photographs, erase=0.5) == 0.5).all(1).float().mean((1, 2))
    assert grey.max() == pytest.approx(0.25)
    assert grey.min() > 0.03


def test_colours_change_and_stay_in_range(photographs: Tensor) -> None:
    found = changed(photographs, colour=0.5)
    assert found.min() >= 0
    assert found.max() <= 1
    assert (found - photographs).abs().mean() > 0.05


def test_the_same_numbers_give_the_same_images(photographs: Tensor) -> None:
    options = {"rotation": 10, "elastic": 0.05, "flip": 1, "colour": 0.3, "erase": 0.3}
    assert torch.equal(changed(photographs, seed=3, **options), changed(photographs, seed=3, **options))
    assert not torch.equal(changed(photographs, seed=3, **options), changed(photographs, seed=4, **options))
