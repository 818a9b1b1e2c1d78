"""Random changes to training images; never applied to what is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class AugmentSpec:
    """A random affine map per image.

    Attributes:
        rotation: largest turn, degrees.
        scale: largest relative change of size, each axis by itself.
        shear: largest shear.
        shift: largest translation, as a share of the image's side.
        ink: largest relative change of stroke darkness.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    ink: float = 0.0


def apply_symmetry(images: Tensor, symmetry: Tensor) -> Tensor:
    """Turn by 90° × (symmetry mod 4), mirrored from 4 on: (n, c, s, s) and (n,) to (n, c, s, s)."""
    out = images.clone()
    for number in range(1, 8):
        chosen = symmetry == number
        if bool(chosen.any()):
            turned = torch.rot90(images[chosen], number % 4, dims=(2, 3))
            out[chosen] = turned.flip(3) if number >= 4 else turned
    return out


def random_affine(images: Tensor, spec: AugmentSpec, generator: torch.Generator) -> Tensor:
    """One random affine map per image, bilinear, (n, c, h, w) in [0, 1]."""
    n = len(images)

    def uniform(reach: float) -> Tensor:
        return (torch.rand(n, generator=generator) * 2 - 1).mul_(reach).to(images.device)

    angle, shear = uniform(math.radians(spec.rotation)), uniform(spec.shear)
    scale_x, scale_y = 1 + uniform(spec.scale), 1 + uniform(spec.scale)
    cos, sin = angle.cos(), angle.sin()
    row_x = torch.stack([scale_x * cos, scale_y * (shear * cos - sin), uniform(2 * spec.shift)], 1)
    row_y = torch.stack([scale_x * sin, scale_y * (shear * sin + cos), uniform(2 * spec.shift)], 1)
    grid = functional.affine_grid(torch.stack([row_x, row_y], 1), list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, align_corners=False)
    return (moved * (1 + uniform(spec.ink)).view(-1, 1, 1, 1)).clamp_(0, 1)
