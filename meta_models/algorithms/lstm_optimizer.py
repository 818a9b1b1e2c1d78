"""A learned optimizer for the inner loop: an LSTM that reads gradients (Ravi & Larochelle 2017, "Optimization as a
model for few-shot learning"; Andrychowicz et al. 2016, arXiv:1606.04474)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from meta_models.algorithms.anil import ANIL
from meta_models.algorithms.inner_loop import Update
from meta_models.algorithms.protocol import InnerSettings, Tensors

P = 10.0
"""Magnitudes below exp(-P) count as small (Andrychowicz et al., appendix A)."""

FORGET, WRITE = 6.0, 0.0
"""Initial biases of the two gates: the learned optimizer starts as gradient descent by `inner_lr`."""


class _Memory(NamedTuple):
    """Per coordinate: the LSTM's output and cell (n, hidden), and the gates of the step before (n, 2)."""

    output: Tensor
    cell: Tensor
    gates: Tensor


@dataclass(frozen=True)
class LSTMOptimizer(ANIL):
    """ANIL whose weights are an LSTM's cell state: w ← f ∘ w - inner_lr · i ∘ gradient (Ravi & Larochelle, eq. 3-5).

    One small LSTM works on every coordinate of the head by itself, so the number of classes is free. The gates f
    and i see its output, the weight and themselves a step earlier; i lies between 0 and 2. Its comparison with
    gradient descent at equal steps is `anil`.
    """

    name: ClassVar[str] = "lstm_optimizer"
    # Gradients are the optimizer's input, not something to differentiate (both papers).
    first_order: bool = True
    hidden: int = 20

    def init(self) -> Tensors:
        lstm, gates = nn.LSTMCell(4, self.hidden), nn.Linear(self.hidden + 3, 2)
        nn.init.normal_(gates.weight, std=0.01)
        with torch.no_grad():
            gates.bias.copy_(torch.tensor([FORGET, WRITE]))
        tensors = {
            "lstm.input": lstm.weight_ih,
            "lstm.recurrent": lstm.weight_hh,
            "lstm.bias": lstm.bias_ih,
            "gates.weight": gates.weight,
            "gates.bias": gates.bias,
        }
        return {**super().init(), **{name: t.detach().clone() for name, t in tensors.items()}}

    def _update(self, meta_params: Tensors, inner: InnerSettings) -> Update:
        def update(fast_weights: Tensors, gradients: Tensors, loss: Tensor, state: Any) -> tuple[Tensors, Any]:
            memories: dict[str, _Memory] = {}
            moved: Tensors = {}
            for name, w in fast_weights.items():
                gradient = gradients[name]
                seen = torch.cat([_preprocess(gradient.flatten()), _preprocess(loss).expand(w.numel(), 2)], dim=1)
                memory = state[name] if state else self._blank(w)
                memories[name] = self._remember(meta_params, seen, w.flatten(), memory)
                keep, write = (gate.view_as(w) for gate in memories[name].gates.unbind(1))
                moved[name] = keep * w - inner.inner_lr * write * gradient
            return moved, memories

        return update

    def _blank(self, w: Tensor) -> _Memory:
        zeros = w.new_zeros(w.numel(), self.hidden)
        return _Memory(zeros, zeros, zeros.new_zeros(w.numel(), 2))

    @staticmethod
    def _remember(meta_params: Tensors, seen: Tensor, w: Tensor, memory: _Memory) -> _Memory:
        mixed = seen @ meta_params["lstm.input"].T + memory.output @ meta_params["lstm.recurrent"].T
        let_in, forget, candidate, let_out = (mixed + meta_params["lstm.bias"]).chunk(4, dim=1)
        cell = forget.sigmoid() * memory.cell + let_in.sigmoid() * candidate.tanh()
        output = let_out.sigmoid() * cell.tanh()
        gates = torch.cat([output, w[:, None], memory.gates], dim=1) @ meta_params["gates.weight"].T
        keep, write = (gates + meta_params["gates.bias"]).sigmoid().unbind(1)
        return _Memory(output, cell, torch.stack([keep, 2 * write], dim=1))


def _preprocess(values: Tensor) -> Tensor:
    """(n,) of any size to (n, 2) within reach of a network: logarithm and sign, or the small value scaled."""
    values = values.reshape(-1)
    size = values.abs()
    large = torch.stack([size.clamp_min(1e-30).log() / P, values.sign()], dim=1)
    small = torch.stack([-torch.ones_like(values), values * torch.e**P], dim=1)
    return torch.where((size >= torch.e**-P)[:, None], large, small)
