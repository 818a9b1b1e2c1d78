"""Ridge regression and attention against their definitions."""

from __future__ import annotations

import pytest
import torch

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
