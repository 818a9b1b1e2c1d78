"""Ridge regression, attention and a teacher's distance against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from meta_models.algorithms.inner_loop import balanced_weights
from meta_models.algorithms.pretrain import distance
from meta_models.algorithms.ridge import solve_ridge
from meta_models.datasets import ClassPool
from meta_models.torch_model import build_algorithm
from tests.meta_models.test_algorithms import BACKBONE, SHAPE, adapt, episode


@pytest.mark.parametrize("n", [5, 8, 40])
def test_ridge_is_the_minimum(n: int) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(n, 8, dtype=torch.float64), torch.randn(n, 3, dtype=torch.float64)
    penalty = torch.tensor(0.3, dtype=torch.float64)
    w = solve_ridge(x, y, penalty).requires_grad_()
    (gradient,) = torch.autograd.grad(((x @ w - y) ** 2).sum() + penalty * (w**2).sum(), w)
    assert gradient.abs().max() < 1e-9


def test_ridge_gives_a_large_class_no_advantage(pool: ClassPool) -> None:
    """The intercepts of one example against eight copies of another are equal."""
    torch.manual_seed(0)
    algorithm = build_algorithm({"name": "ridge"}, BACKBONE, SHAPE)
    meta_params, e = algorithm.init(), episode(pool, [1, 1])
    one, other = algorithm.body(meta_params, e.support_inputs)
    features = torch.stack([one, *[other] * 8])
    intercepts = algorithm.adapt(meta_params, features, torch.tensor([0] + [1] * 8), 2)["intercepts"]
    assert intercepts[0] == pytest.approx(float(intercepts[1]), abs=1e-4)


def test_an_intercept_moves_as_freely_as_its_constant_is_large(pool: ClassPool) -> None:
    torch.manual_seed(0)
    algorithm = build_algorithm({"name": "ridge"}, BACKBONE, SHAPE)
    learned = {"log_lambda": math.log(0.3), "log_scale": math.log(7.0), "constant": 0.5}
    meta_params, e = algorithm.init(), episode(pool, [1, 4, 2])
    meta_params |= {name: torch.tensor(value) for name, value in learned.items()}
    support, query = (
        torch.cat([torch.nn.functional.normalize(f, dim=-1), torch.full((len(f), 1), 0.5)], dim=1)
        for f in (algorithm.body(meta_params, inputs) for inputs in (e.support_inputs, e.query_inputs))
    )
    weights = 7 * balanced_weights(e.support_labels, 3)[:, None]  # 1 on average
    targets = torch.nn.functional.one_hot(e.support_labels).float()
    square = support.T @ (weights * support) + 0.3 * torch.eye(support.shape[1])
    solved = torch.linalg.solve(square, support.T @ (weights * targets))
    logits = algorithm.head(meta_params, adapt(algorithm, meta_params, e), algorithm.body(meta_params, e.query_inputs))
    torch.testing.assert_close(logits, 7 * query @ solved, atol=1e-4, rtol=1e-4)


def test_a_teachers_distance_is_a_softened_divergence() -> None:
    """Hinton et al. 2015, section 2, with a temperature of 4: T² Σ p log(p / q), p the teacher's."""
    ours, theirs = torch.tensor([[1.0, 0.0, -2.0], [3.0, 3.0, 0.0]]), torch.tensor([[0.0, 2.0, 1.0], [5.0, -1.0, 0.0]])
    q, p = ((logits / 4).softmax(1) for logits in (ours, theirs))
    torch.testing.assert_close(distance(ours, theirs), 16 * (p * (p / q).log()).sum(1).mean())


def test_attention_by_hand(pool: ClassPool) -> None:
    torch.manual_seed(0)
    algorithm = build_algorithm({"name": "matching"}, BACKBONE, SHAPE)
    meta_params, e = algorithm.init(), episode(pool, [1, 4, 2])
    query = algorithm.body(meta_params, e.query_inputs)
    support = algorithm.body(meta_params, e.support_inputs)
    cosines = torch.nn.functional.cosine_similarity(query[:, None], support[None], dim=-1)
    attention = (10 * cosines).exp() / torch.tensor([1, 4, 4, 4, 4, 2, 2])
    expected = torch.stack([attention[:, e.support_labels == c].sum(1) for c in range(3)], dim=1)
    logits = algorithm.head(meta_params, adapt(algorithm, meta_params, e), query)
    torch.testing.assert_close(logits.softmax(1), expected / expected.sum(1, keepdim=True))
