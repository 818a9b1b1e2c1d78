"""One step of the outer loop, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from meta_models.algorithms import meta_loss
from meta_models.outer_step import Learner, schedule
from meta_models.recipe import Outer
from meta_models.splits import Splits
from meta_models.torch_model import build_algorithm
from meta_models.training_episodes import draw, fetch_episode
from tests.meta_models.test_meta_train import recipe


def test_the_step_size_warms_up_follows_a_half_cosine_and_cools_down() -> None:
    long = Outer(steps=10**7)
    assert [schedule(step, long) for step in (0, 49, 99, 100)] == pytest.approx([0.01, 0.5, 1, 1])
    assert [schedule(step, Outer(steps=1000)) for step in (500, 750)] == pytest.approx([0.5, 0.5 - math.sqrt(0.125)])
    ending = Outer(steps=600, horizon=1200, cooldown=100)
    assert [schedule(step, ending) for step in (400, 500)] == pytest.approx(
        [0.75, 0.5 + math.cos(math.pi * 5 / 12) / 2]
    )
    assert schedule(575, ending) == pytest.approx((0.5 + math.cos(math.pi * 575 / 1200) / 2) / 4)


@pytest.mark.parametrize(("scale", "clipped"), [(10.0, False), (1e4, True)])
def test_a_step_of_sgd_goes_down_the_mean_of_its_episodes(splits: Splits, scale: float, clipped: bool) -> None:
    """Nesterov's momentum and the decay of weights, at the first step's share of the step size; a gradient is at most
    10 long."""
    made = recipe(1000)
    outer = made.outer.model_copy(update={"optimizer": "sgd", "meta_batch_size": 2})
    made = made.model_copy(update={"outer": outer})
    torch.manual_seed(0)
    algorithm = build_algorithm(made.algorithm, made.backbone, (1, 28, 28))
    start = {**algorithm.init(), "log_scale": torch.tensor(math.log(scale))}
    names = [name for name in start if "running" not in name]

    weights = {name: t.clone().requires_grad_(name in names) for name, t in start.items()}
    inputs = torch.from_numpy(splits.train[0].inputs)
    episodes = [fetch_episode(inputs, draw(splits.train, made, number), made) for number in (2, 3)]
    loss = torch.stack([meta_loss(algorithm, weights, e, training=True)[0] for e in episodes]).mean()
    gradients = dict(zip(names, torch.autograd.grad(loss, [weights[name] for name in names]), strict=True))
    length = torch.stack([g.norm() for g in gradients.values()]).norm()
    assert (length > 10) == clipped

    moved = {name: t.clone() for name, t in start.items()}
    told, _ = Learner(algorithm, made, moved, names, splits.train, lr=0.5, decay=0.1).step(1)
    torch.testing.assert_close(told, loss.detach())
    for name in names:
        gradient = gradients[name] * min(1, 10 / length) + 0.1 * start[name]
        expected = start[name] - 0.5 * schedule(1, outer) * 1.9 * gradient
        torch.testing.assert_close(moved[name].detach(), expected, atol=1e-5, rtol=1e-4)
