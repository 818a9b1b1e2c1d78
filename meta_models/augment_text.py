"""Random changes to training episodes of texts; never applied to what is measured."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TextAugmentSpec:
    """What becomes of an episode's class names.

    Attributes:
        hidden_names: share of episodes whose classes have none.
        wrong_names: share of episodes where each class has the name of another.
    """

    hidden_names: float = 0.0
    wrong_names: float = 0.0


def change_names(
    rows: Tensor, n_shot: int, max_tokens: int, spec: TextAugmentSpec, generator: torch.Generator
) -> Tensor:
    """Support rows (n_way * n_shot, max_tokens + name_tokens) by class: maybe without names, or with wrong ones."""
    drawn = float(torch.rand(1, generator=generator))
    texts, names = rows[:, :max_tokens], rows[:, max_tokens:]
    if drawn < spec.hidden_names:
        names = torch.zeros_like(names)
    elif drawn < spec.hidden_names + spec.wrong_names:
        names = names.roll(n_shot, dims=0)
    return torch.cat([texts, names], dim=1)
