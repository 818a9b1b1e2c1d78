"""Random changes to training images; never applied to what is measured.

Numbers are drawn on the CPU, so that a run can be repeated anywhere; the rest is arithmetic where the images are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_CONTROL = 5
"""Points a side whose displacements bend an image."""


@dataclass(frozen=True)
class AugmentSpec:
    """A random change per image.

    Attributes:
        rotation: largest turn, degrees.
        scale: largest relative change of size, each axis by itself.
        shear: largest shear.
        shift: largest translation, as a share of the image's side; by whole pixels where nothing else moves.
        elastic: largest displacement of the control points of a smooth bend, as a share of the image's side.
        ink: largest relative change of stroke darkness.
        stroke: share of the way to strokes a pixel thicker, or thinner, on either side.
        flip: 1 mirrors half of the images.
        colour: largest relative change of brightness, contrast and saturation.
        erase: side of a grey square laid somewhere on the image, as a share of its side.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    ink: float = 0.0
    stroke: float = 0.0
    flip: float = 0.0
    colour: float = 0.0
    erase: float = 0.0


def apply_symmetry(images: Tensor, symmetry: Tensor) -> Tensor:
    """Turn by 90° × (symmetry mod 4), mirrored from 4 on: (n, c, s, s) and (n,) to (n, c, s, s)."""
    turned = [torch.rot90(images, k, dims=(2, 3)) for k in range(4)]
    every = torch.stack([*turned, *(image.flip(3) for image in turned)])
    return every[symmetry, torch.arange(len(images), device=images.device)]


def draw_numbers(n: int, spec: AugmentSpec, generator: torch.Generator) -> Tensor:
    """(k, n) in [-1, 1): what `change` needs for n images."""
    wanted = [(7, True), (2 * _CONTROL**2, spec.elastic), (1, spec.stroke), (1, spec.flip)]
    wanted += [(3, spec.colour), (2, spec.erase)]
    return torch.rand(sum(k for k, used in wanted if used), n, generator=generator) * 2 - 1


def change(images: Tensor, spec: AugmentSpec, numbers: Tensor) -> Tensor:
    """One random change per image, (n, c, s, s) in [0, 1], from `draw_numbers`.

    What comes into view is blank in drawings (c = 1) and mirrors the rest in photographs. Pixels between pixels are
    bicubic, which blurs less than bilinear: what is measured is not blurred (docs/drawings.md).
    """
    drawn = iter(numbers)
    grid = _affine_grid(images, spec, *(next(drawn) for _ in range(6)))
    ink = next(drawn)
    if spec.elastic:
        bend = torch.stack([next(drawn) for _ in range(2 * _CONTROL**2)], 1).view(-1, 2, _CONTROL, _CONTROL)
        bend = functional.interpolate(bend, images.shape[2:], mode="bicubic", align_corners=True)
        grid = grid + 2 * spec.elastic * bend.permute(0, 2, 3, 1)
    padding = "zeros" if images.shape[1] == 1 else "reflection"
    images = functional.grid_sample(images, grid, mode="bicubic", padding_mode=padding, align_corners=False)
    if spec.stroke:
        images = _thicken(images, _each(spec.stroke * next(drawn)))
    if spec.flip:
        images = torch.where(_each(next(drawn)) < 0, images.flip(3), images)
    if spec.colour:
        images = _recolour(images, *(_each(1 + spec.colour * next(drawn)) for _ in range(3)))
    if spec.erase:
        images = _erase(images, spec.erase, _each(next(drawn)), _each(next(drawn)))
    return (images * _each(1 + spec.ink * ink)).clamp_(0, 1)


def _each(numbers: Tensor) -> Tensor:
    return numbers.view(-1, 1, 1, 1)


def _affine_grid(images: Tensor, spec: AugmentSpec, *moves: Tensor) -> Tensor:
    """(n, s, s, 2): where each pixel comes from."""
    turn, shear, wide, high, right, down = moves
    angle, shear = math.radians(spec.rotation) * turn, spec.shear * shear
    scale_x, scale_y = 1 + spec.scale * wide, 1 + spec.scale * high
    right, down = 2 * spec.shift * right, 2 * spec.shift * down
    if not (spec.rotation or spec.scale or spec.shear or spec.elastic):
        pixel = 2 / images.shape[3]
        right, down = (right / pixel).round() * pixel, (down / pixel).round() * pixel
    cos, sin = angle.cos(), angle.sin()
    row_x = torch.stack([scale_x * cos, scale_y * (shear * cos - sin), right], 1)
    row_y = torch.stack([scale_x * sin, scale_y * (shear * sin + cos), down], 1)
    return functional.affine_grid(torch.stack([row_x, row_y], 1), list(images.shape), align_corners=False)


def _thicken(images: Tensor, by: Tensor) -> Tensor:
    thick = functional.max_pool2d(images, 3, stride=1, padding=1)
    thin = -functional.max_pool2d(-images, 3, stride=1, padding=1)
    return images + by.abs() * (torch.where(by > 0, thick, thin) - images)


def _recolour(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    mean = images.mean((1, 2, 3), keepdim=True)
    images = brightness * (mean + contrast * (images - mean))
    grey = images.mean(1, keepdim=True)
    return grey + saturation * (images - grey)


def _erase(images: Tensor, side: float, x: Tensor, y: Tensor) -> Tensor:
    """A square whose centre is anywhere, at (x, y) in [-1, 1)."""
    size = images.shape[3]
    along = (torch.arange(size, device=images.device) * 2 + 1) / size - 1
    covered = ((along - x).abs() < side) & ((along.view(-1, 1) - y).abs() < side)
    return images.masked_fill(covered, 0.5)
