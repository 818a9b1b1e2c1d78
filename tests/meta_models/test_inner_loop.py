"""The inner loop against gradient descent written out."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from meta_models.algorithms import InnerSettings, inner_loop
from meta_models.algorithms.protocol import Tensors


def linear(weights: Tensors, features: torch.Tensor) -> torch.Tensor:
    return features @ weights["w"].T + weights["b"]


@pytest.fixture
def problem() -> tuple[Tensors, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    start = {"w": torch.randn(3, 8), "b": torch.zeros(3)}
    return start, torch.randn(30, 8), torch.tensor([0] * 20 + [1] * 7 + [2] * 3)


def test_two_steps_by_hand(problem: tuple[Tensors, torch.Tensor, torch.Tensor]) -> None:
    start, features, labels = problem
    per_class = torch.tensor([1 / 60, 1 / 21, 1 / 9])  # every class a third, whatever its size
    w, b = start["w"].clone().requires_grad_(), start["b"].clone().requires_grad_()
    for _ in range(2):
        loss = (per_class[labels] * functional.cross_entropy(features @ w.T + b, labels, reduction="none")).sum()
        gw, gb = torch.autograd.grad(loss, (w, b))
        w, b = (w - 0.1 * gw).detach().requires_grad_(), (b - 0.1 * gb).detach().requires_grad_()
    fast = inner_loop.inner_loop(linear, start, features, labels, 3, InnerSettings(2, 0.1))
    torch.testing.assert_close(fast["w"], w.detach())
    torch.testing.assert_close(fast["b"], b.detach())


def test_a_worker_that_differentiates_no_further_gets_the_same(
    problem: tuple[Tensors, torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, in chunks too, with a weight that the loss does not see, and leaving `start` as it was."""
    monkeypatch.setattr(inner_loop, "CHUNK", 13)
    start, features, labels = problem
    start = {**start, "unseen": torch.ones(2)}
    told: dict[bool, list[float]] = {True: [], False: []}
    fast: dict[bool, Tensors] = {}
    for further in told:
        with torch.set_grad_enabled(further):
            fast[further] = inner_loop.inner_loop(
                linear,
                start,
                features,
                labels,
                3,
                InnerSettings(3, 0.1),
                on_step=lambda _, loss, losses=told[further]: losses.append(loss),
            )
    assert told[True] == told[False]
    assert all(torch.equal(fast[True][name], fast[False][name]) for name in start)
    assert not any(w.requires_grad for w in (*start.values(), *fast[False].values()))


def test_shares_replace_the_balance(problem: tuple[Tensors, torch.Tensor, torch.Tensor]) -> None:
    """An example without a share might as well be absent."""
    start, features, labels = problem
    kept = torch.arange(30) % 2 == 0
    shares = inner_loop.balanced_weights(labels[kept], 3)
    alone = inner_loop.inner_loop(linear, start, features[kept], labels[kept], 3, InnerSettings(3, 0.1))
    all_shares = torch.zeros(30).masked_scatter(kept, shares)
    silenced = inner_loop.inner_loop(linear, start, features, labels, 3, InnerSettings(3, 0.1), shares=all_shares)
    torch.testing.assert_close(silenced["w"], alone["w"])


def test_an_update_rule_keeps_its_own_state(problem: tuple[Tensors, torch.Tensor, torch.Tensor]) -> None:
    """Momentum as a rule, against momentum as torch has it."""
    start, features, labels = problem

    def momentum(
        fast: Tensors, gradients: Tensors, loss: torch.Tensor, state: Tensors | None
    ) -> tuple[Tensors, Tensors]:
        velocity = {n: 0.9 * state[n] + g if state else g for n, g in gradients.items()}
        return {n: w - 0.1 * velocity[n] for n, w in fast.items()}, velocity

    fast = inner_loop.inner_loop(linear, start, features, labels, 3, InnerSettings(4, 0.1), update=momentum)
    weights = {n: w.clone().requires_grad_() for n, w in start.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=0.1, momentum=0.9)
    shares = inner_loop.balanced_weights(labels, 3)
    for _ in range(4):
        optimizer.zero_grad()
        (shares * functional.cross_entropy(linear(weights, features), labels, reduction="none")).sum().backward()
        optimizer.step()
    torch.testing.assert_close(fast["w"], weights["w"].detach())


def test_a_cautious_step_that_raised_the_loss_is_taken_back_and_halved() -> None:
    update = inner_loop.cautious(0.4)
    state, w = None, torch.tensor(1.0)
    steps = [(1.0, 1.0, 0.6), (2.0, 9.0, 0.8), (1.5, 9.0, 0.9), (0.5, 1.0, 0.8), (0.7, 9.0, 0.85)]
    for loss, gradient, expected in steps:  # down in the fourth alone
        moved, state = update({"w": w}, {"w": torch.tensor(gradient)}, torch.tensor(loss), state)
        w = moved["w"]
        assert float(w) == pytest.approx(expected)


def test_chunks_change_nothing(
    problem: tuple[Tensors, torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    start, features, labels = problem
    whole = inner_loop.inner_loop(linear, start, features, labels, 3, InnerSettings(3, 0.1))
    monkeypatch.setattr(inner_loop, "CHUNK", 7)
    pieces = inner_loop.inner_loop(linear, start, features, labels, 3, InnerSettings(3, 0.1))
    torch.testing.assert_close(pieces["w"], whole["w"])


def test_start_is_untouched_and_zero_steps_return_it(problem: tuple[Tensors, torch.Tensor, torch.Tensor]) -> None:
    start, features, labels = problem
    before = {name: t.clone() for name, t in start.items()}
    assert inner_loop.inner_loop(linear, start, features, labels, 3, InnerSettings(0, 0.1)) == start
    inner_loop.inner_loop(linear, start, features, labels, 3, InnerSettings(2, 0.1))
    assert all(torch.equal(before[name], start[name]) for name in start)


def test_second_derivative_matches_finite_differences(problem: tuple[Tensors, torch.Tensor, torch.Tensor]) -> None:
    start, features, labels = problem
    start = {name: t.double() for name, t in start.items()}
    features = features.double()

    def query_loss(scale: torch.Tensor) -> torch.Tensor:
        fast = inner_loop.inner_loop(
            linear, {"w": start["w"] * scale, "b": start["b"]}, features, labels, 3, InnerSettings(2, 0.5)
        )
        return functional.cross_entropy(linear(fast, features), labels)

    one = torch.ones((), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(query_loss, (one,), eps=1e-6, atol=1e-6)
