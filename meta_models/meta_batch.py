"""The episodes of one outer step: at once where that is faster, else one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from meta_models.algorithms import Algorithm, Episode, Tensors, meta_loss
from meta_models.algorithms.protocol import OwnObjective

Shape = tuple[int, ...]


def can_be_at_once(algorithm: Algorithm) -> bool:
    """Whether nothing of an episode stays behind: a shared body's normalisation gathers statistics while it learns."""
    return not algorithm.shares_body and not isinstance(algorithm, OwnObjective)


def of_one_shape(episodes: Iterable[Episode]) -> list[list[Episode]]:
    """The same episodes, those that can be stacked together."""
    groups: dict[tuple[Shape, Shape, int], list[Episode]] = {}
    for episode in episodes:
        shape = (tuple(episode.support_inputs.shape), tuple(episode.query_inputs.shape), episode.n_way)
        groups.setdefault(shape, []).append(episode)
    return list(groups.values())


def losses_at_once(algorithm: Algorithm, meta_params: Tensors, episodes: Sequence[Episode]) -> tuple[Tensor, Tensor]:
    """Sums of `meta_loss` and accuracy over episodes of one shape, by `torch.func.vmap`.

    Channels last is no order that `vmap` knows to ask for on CUDA, so nothing in here has it.
    """
    n_way = episodes[0].n_way
    meta_params = {name: _contiguous(t) for name, t in meta_params.items()}

    def one(support: Tensor, labels: Tensor, query: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        return meta_loss(algorithm, meta_params, Episode(support, labels, query, answers, n_way), training=True)

    parts = [(e.support_inputs, e.support_labels, e.query_inputs, e.query_labels) for e in episodes]
    losses, accuracies = torch.func.vmap(one)(*(_contiguous(torch.stack(part)) for part in zip(*parts, strict=True)))
    return losses.sum(), accuracies.sum()


def _contiguous(tensor: Tensor) -> Tensor:
    """A copy: `contiguous` leaves a tensor of one channel as it is."""
    return tensor.clone(memory_format=torch.contiguous_format)
