"""The inner loop: a few gradient steps on the support set. Meta-training and the service both run this one."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from meta_models.algorithms.protocol import InnerSettings, OnStep, Tensors, memberships

CHUNK = 512
"""Support examples whose activations are held at once; gradients are summed over chunks, so the result is exact."""

Logits = Callable[[Tensors, Tensor], Tensor]
"""(fast_weights, features) to logits (n, n_way)."""


class Update(Protocol):
    """One step's rule. Pure: what it remembers between steps is its `state`, None before the first."""

    def __call__(self, fast_weights: Tensors, gradients: Tensors, loss: Tensor, state: Any) -> tuple[Tensors, Any]: ...


def descent(inner_lr: float, change: Callable[[str, Tensor], Tensor] = lambda _, gradient: gradient) -> Update:
    """w - inner_lr · change(name, gradient): gradient descent, or a learned transform of the gradient."""

    def update(fast_weights: Tensors, gradients: Tensors, loss: Tensor, state: Any) -> tuple[Tensors, Any]:
        return {name: w - inner_lr * change(name, gradients[name]) for name, w in fast_weights.items()}, None

    return update


def cautious(inner_lr: float) -> Update:
    """Gradient descent that goes back where a step raised the loss, and from then on half as far (backtracking, Armijo
    1966): a step that suits classes which lie apart is too long for classes that overlap. A step is judged by the loss
    that the next one finds, so the last is not judged: that would cost a pass through the support set."""

    def update(fast_weights: Tensors, gradients: Tensors, loss: Tensor, state: Any) -> tuple[Tensors, Any]:
        rate = torch.full_like(loss, inner_lr)
        if state:
            before, before_gradients, before_loss, before_rate = state
            worse = loss > before_loss
            fast_weights = {name: torch.where(worse, before[name], w) for name, w in fast_weights.items()}
            gradients = {name: torch.where(worse, before_gradients[name], g) for name, g in gradients.items()}
            loss, rate = torch.where(worse, before_loss, loss), torch.where(worse, before_rate / 2, before_rate)
        moved = {name: w - rate * gradients[name] for name, w in fast_weights.items()}
        return moved, (fast_weights, gradients, loss, rate)

    return update


def scale_params(inner_scale: float | None) -> Tensors:
    """What to learn of a cosine's scale, from 10 on: one, and with `inner_scale` one more for the inner loop alone.

    Prototypes answer their own support set with certainty at the scale that answers queries best, so its loss has
    nothing to teach; at a smaller one it has.
    """
    scales = {"log_scale": torch.tensor(math.log(10.0))}
    if inner_scale is not None:
        scales["log_inner_scale"] = torch.tensor(math.log(inner_scale))
    return scales


def inside(meta_params: Tensors) -> Tensors:
    """What the inner loop takes for the meta-parameters: its own scale in the place of the queries'."""
    return {**meta_params, "log_scale": meta_params.get("log_inner_scale", meta_params["log_scale"])}


def inner_loop(
    logits: Logits,
    fast_weights: Tensors,
    features: Tensor,
    labels: Tensor,
    n_way: int,
    inner: InnerSettings,
    *,
    update: Update | None = None,
    shares: Tensor | None = None,
    first_order: bool = False,
    on_step: OnStep | None = None,
) -> Tensors:
    """`inner_steps` steps down the class-balanced support loss (Finn et al. 2017, alg. 1).

    Args:
        logits: the adapted model as a function of its weights.
        fast_weights: where to start; left untouched.
        features: (n_support, …) support inputs or features.
        labels: (n_support,) in [0, n_way).
        n_way: number of classes.
        inner: steps and step size.
        update: how a gradient moves the weights; plain descent by `inner.inner_lr` unless given.
        shares: (n_support,) each example's share of the loss; unless given, every class has the same.
        first_order: treat each step's gradient as a constant (Finn et al. 2017, section 5.2).
        on_step: told the support loss before each step.

    Returns:
        fast_weights after the last step, differentiable with respect to the initial ones.
    """
    weights = balanced_weights(labels, n_way) if shares is None else shares
    update, state = update or descent(inner.inner_lr), None

    def chunk_loss(fast: Tensors, start: int) -> Tensor:
        part = slice(start, start + CHUNK)
        return (
            weights[part] * functional.cross_entropy(logits(fast, features[part]), labels[part], reduction="none")
        ).sum()

    for step in range(inner.inner_steps):
        gradients, loss = _gradient(chunk_loss, fast_weights, labels.shape[0])
        if first_order:
            gradients = {name: g.detach() for name, g in gradients.items()}
        if on_step:
            on_step(step, float(loss))
        fast_weights, state = update(fast_weights, gradients, loss.detach() if first_order else loss, state)
    return fast_weights


def balanced_weights(labels: Tensor, n_way: int) -> Tensor:
    """(n_support,) weights that sum to 1 and give every class the same share."""
    counts = memberships(labels, n_way).sum(0)
    return 1.0 / (n_way * counts[labels])


def _gradient(chunk_loss: Callable[[Tensors, int], Tensor], fast_weights: Tensors, n: int) -> tuple[Tensors, Tensor]:
    grad = torch.func.grad_and_value(chunk_loss) if torch.is_grad_enabled() else partial(_last_gradient, chunk_loss)
    gradients, loss = grad(fast_weights, 0)
    start = CHUNK
    while start < n:  # not `range`: exported graphs have a symbol for n
        more, part = grad(fast_weights, start)
        gradients = {name: g + more[name] for name, g in gradients.items()}
        loss = loss + part
        start += CHUNK
    return gradients, loss


def _last_gradient(
    chunk_loss: Callable[[Tensors, int], Tensor], fast_weights: Tensors, start: int
) -> tuple[Tensors, Tensor]:
    """As `torch.func.grad_and_value`, where nobody asks for the gradient of the gradient, as in a worker.

    `torch.func` imports torch's compiler, which would be a second of every worker's start.
    """
    leaves = {name: w.detach().requires_grad_() for name, w in fast_weights.items()}
    with torch.enable_grad():
        loss = chunk_loss(leaves, start)
    gradients = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, gradients, strict=True)), loss.detach()
