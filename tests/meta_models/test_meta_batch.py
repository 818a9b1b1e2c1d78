"""Episodes at once learn what they teach one after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from meta_models.algorithms import Algorithm, Episode, Tensors, meta_loss
from meta_models.datasets import ClassPool
from meta_models.meta_batch import can_be_at_once, losses_at_once, of_one_shape
from meta_models.outer_step import Learner
from meta_models.recipe import Data, Outer, Recipe
from meta_models.torch_model import build_algorithm

LAST = torch.channels_last
STEPS = {"inner": {"inner_steps": 2, "inner_lr": 0.1}}


def an_episode(seed: int, n_way: int, n_shot: int) -> Episode:
    torch.manual_seed(seed)
    labels, queries = torch.arange(n_way).repeat(n_shot), torch.arange(n_way).repeat(2)
    return Episode(torch.rand(len(labels), 1, 28, 28), labels, torch.rand(len(queries), 1, 28, 28), queries, n_way)


def built(options: dict[str, Any]) -> Algorithm:
    return build_algorithm(options, {"name": "conv4", "width": 8}, (1, 28, 28))


@pytest.mark.parametrize(
    "options",
    [
        {"name": "maml", **STEPS},
        {"name": "maml", "first_order": True, "inner_scale": 10.0, **STEPS},
        {"name": "maml", "start": "shared", **STEPS},
        {"name": "meta_sgd", **STEPS},
        {"name": "meta_curvature", **STEPS},
    ],
)
def test_losses_and_gradients_are_the_same(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    algorithm = built(options)
    assert can_be_at_once(algorithm)
    meta_params = algorithm.init()
    learning = {name: t.requires_grad_() for name, t in meta_params.items() if "running" not in name}
    episodes = [an_episode(seed, 4, 2) for seed in range(3)]

    def gradients(loss: Tensor) -> Tensors:
        found = torch.autograd.grad(loss, list(learning.values()), allow_unused=True, materialize_grads=True)
        return dict(zip(learning, found, strict=True))

    each = [meta_loss(algorithm, meta_params, episode, training=True) for episode in episodes]
    loss, accuracy = losses_at_once(algorithm, meta_params, episodes)
    torch.testing.assert_close(loss, torch.stack([one for one, _ in each]).sum())
    assert accuracy == torch.stack([one for _, one in each]).sum()
    expected = gradients(torch.stack([one for one, _ in each]).sum())
    for name, gradient in gradients(loss).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)


def test_nothing_is_channels_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's normalisation asks such a tensor for its order, which `vmap` does not answer."""
    seen: list[tuple[int, ...]] = []
    real = functional.batch_norm

    def normalise(inputs: Tensor, *rest: Any, **options: Any) -> Tensor:
        seen.append(inputs.stride())
        return real(inputs, *rest, **options)

    monkeypatch.setattr(functional, "batch_norm", normalise)
    torch.manual_seed(0)
    algorithm = built({"name": "meta_curvature", **STEPS})
    meta_params = {n: t.to(memory_format=LAST) if t.ndim == 4 else t for n, t in algorithm.init().items()}
    episodes = [an_episode(seed, 4, 2) for seed in range(3)]
    episodes = [
        replace(
            e,
            support_inputs=e.support_inputs.to(memory_format=LAST),
            query_inputs=e.query_inputs.to(memory_format=LAST),
        )
        for e in episodes
    ]
    losses_at_once(algorithm, meta_params, episodes)
    assert seen
    assert all(channel > column for _, channel, _, column in seen)


def test_what_gathers_statistics_takes_its_episodes_in_turn() -> None:
    assert not any(can_be_at_once(built({"name": name})) for name in ("protonet", "mamlpp", "reptile"))


def test_episodes_are_stacked_with_those_of_their_shape() -> None:
    episodes = [an_episode(0, 4, 1), an_episode(1, 2, 3), an_episode(2, 4, 1)]
    assert of_one_shape(episodes) == [[episodes[0], episodes[2]], [episodes[1]]]


def test_an_outer_step_is_the_same(pool: ClassPool) -> None:
    """With episodes of two shapes in one meta-batch; a CPU takes them in turn unless it is told otherwise."""
    recipe = Recipe(
        name="sketches",
        description="sketches of the tests",
        algorithm={"name": "maml", **STEPS},
        backbone={"name": "conv4", "width": 8},
        data=Data(split="background"),
        episodes=({"n_way": 4, "n_shot": 1, "n_query": 3}, {"n_way": 3, "n_shot": 2, "n_query": 3}),
        outer=Outer(steps=3, meta_batch_size=4, precision="float32"),
    )
    learned: list[Tensors] = []
    for at_once in (False, True):
        torch.manual_seed(0)
        algorithm = build_algorithm(recipe.algorithm, recipe.backbone, (1, 28, 28))
        meta_params = algorithm.init()
        names = [name for name in meta_params if "running" not in name]
        learner = Learner(algorithm, recipe, meta_params, names, (pool,), 1e-2, 0.0)
        assert not learner.at_once
        learner.at_once = at_once
        told = [learner.step(number) for number in range(3)]
        learned.append({**{n: t.detach() for n, t in meta_params.items()}, "told": torch.tensor(told)})
    for name, tensor in learned[0].items():
        torch.testing.assert_close(learned[1][name], tensor, rtol=1e-3, atol=1e-4)
