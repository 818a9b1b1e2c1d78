"""MAML++: what makes MAML train stably (Antoniou et al. 2019, arXiv:1810.09502)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from meta_models.algorithms.inner_loop import descent, inner_loop, inside
from meta_models.algorithms.maml import MAML
from meta_models.algorithms.protocol import (
    Episode,
    InnerSettings,
    OnStep,
    Tensors,
    norm_layers,
    query_loss,
    with_backbone,
)

STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class MAMLPP(MAML):
    """MAML with per-layer per-step step sizes (LSLR), per-step normalisation (BNRS, BNWB), multi-step loss (MSL)
    and derivative-order annealing (DA). The cosine schedule (CA) is every recipe's.

    The paper proposes running statistics for each step; its published code normalises with those of the batch at
    hand, queries included. Here they are gathered in meta-training and constant afterwards, so that a query is
    answered by itself. What a step learned to add to the backbone's normalisation is named `step.<layer>.*`, with one
    row for each number of steps taken, 0 to `max_steps`; normalisation is thus not adapted, and nobody can ask for
    more steps than were learned.

    Attributes:
        max_steps: the most steps anyone may take.
        first_order_until: share of meta-training that uses first derivatives only.
        multi_step_until: share of meta-training over which the query losses after each step fade out.
    """

    name: ClassVar[str] = "mamlpp"
    max_steps: int = 5
    first_order_until: float = 0.3
    multi_step_until: float = 0.3

    def init(self) -> Tensors:
        meta_params = super().init()
        rows = self.max_steps + 1
        step = {
            f"step.{layer}.{part}": meta_params[f"backbone.{layer}.{part}"].new_zeros(
                rows, *meta_params[f"backbone.{layer}.{part}"].shape
            )
            for layer in norm_layers(self.backbone)
            for part in ("weight", "bias", *STATISTICS)
        }
        adapted = [name for name in meta_params if self._is_adapted(name)]
        rates = {f"rate.{name}": torch.ones(self.max_steps) for name in [*adapted, "prototypes"]}
        return {**meta_params, **step, **rates}

    def meta_loss(
        self, meta_params: Tensors, episode: Episode, *, training: bool, progress: float
    ) -> tuple[Tensor, Tensor]:
        """Query losses after each step, weighted (section 4, "Gradient Instability")."""
        importance = self._importance(progress)
        losses: list[Tensor] = []
        accuracy = torch.zeros(())
        trajectory = self._trajectory(
            meta_params,
            episode.support_inputs,
            episode.support_labels,
            episode.n_way,
            self.inner,
            first_order=self.first_order or progress < self.first_order_until,
        )
        for taken, fast in enumerate(trajectory):
            if training:
                inputs = torch.cat([episode.support_inputs, episode.query_inputs])
                self._gather_statistics(meta_params, fast, taken, inputs)
            if importance[taken] > 0:
                logits = self.head(meta_params, self._at_step(meta_params, fast, taken), episode.query_inputs)
                loss, accuracy = query_loss(logits, episode.query_labels)
                losses.append(importance[taken] * loss)
        return torch.stack(losses).sum(), accuracy

    def adapt(
        self,
        meta_params: Tensors,
        features: Tensor,
        labels: Tensor,
        n_way: int,
        *,
        inner: InnerSettings | None = None,
        create_graph: bool = False,
        on_step: OnStep | None = None,
    ) -> Tensors:
        inner = inner or self.inner
        first_order = self.first_order or not create_graph
        *_, fast = self._trajectory(
            meta_params, features, labels, n_way, inner, first_order=first_order, on_step=on_step
        )
        return self._at_step(meta_params, fast, inner.inner_steps)

    def _trajectory(
        self,
        meta_params: Tensors,
        features: Tensor,
        labels: Tensor,
        n_way: int,
        inner: InnerSettings,
        *,
        first_order: bool,
        on_step: OnStep | None = None,
    ) -> Iterator[Tensors]:
        """fast_weights after 0, 1, … steps.

        Raises:
            ValueError: more steps than were learned.
        """
        if inner.inner_steps > self.max_steps:
            raise ValueError(f"{inner.inner_steps} inner steps asked for; this MAML++ learned {self.max_steps}")
        fast = self._initial(self._at_step(meta_params, meta_params, 0), features, labels, n_way)
        known = inside(meta_params)
        for taken in range(inner.inner_steps):
            yield fast
            fast = inner_loop(
                lambda weights, x, taken=taken: self.head(known, self._at_step(meta_params, weights, taken), x),
                fast,
                features,
                labels,
                n_way,
                InnerSettings(1, inner.inner_lr),
                update=descent(inner.inner_lr, lambda n, gradient, t=taken: meta_params[f"rate.{n}"][t] * gradient),
                first_order=first_order,
                on_step=on_step and (lambda _, loss, taken=taken: on_step(taken, loss)),
            )
        yield fast

    def _importance(self, progress: float) -> list[float]:
        """Weights of the query losses after 0 … inner_steps steps: from all steps alike to the last one alone."""
        steps = self.inner.inner_steps
        each = max(0.0, 1 - progress / self.multi_step_until) / steps if self.multi_step_until else 0.0
        return [0.0] + [each] * (steps - 1) + [1 - each * (steps - 1)]

    def _at_step(self, meta_params: Tensors, fast: Tensors, taken: int) -> Tensors:
        """`fast` with the normalisation that belongs to it after `taken` steps."""
        norms = {
            f"backbone.{layer}.{part}": meta_params[f"backbone.{layer}.{part}"]
            + meta_params[f"step.{layer}.{part}"][taken]
            for layer in norm_layers(self.backbone)
            for part in ("weight", "bias", *STATISTICS)
        }
        return {**fast, **norms}

    @torch.no_grad()
    def _gather_statistics(self, meta_params: Tensors, fast: Tensors, taken: int, inputs: Tensor) -> None:
        """Let the running statistics of `taken` steps follow a batch of inputs."""
        tensors = self._at_step(meta_params, {**meta_params, **fast}, taken)
        with_backbone(self.backbone, tensors, inputs, training=True)  # moves the statistics in `tensors`
        for layer in norm_layers(self.backbone):
            for part in STATISTICS:
                name = f"backbone.{layer}.{part}"
                meta_params[f"step.{layer}.{part}"][taken] = tensors[name] - meta_params[name]

    def _is_adapted(self, name: str) -> bool:
        layer = name.removeprefix("backbone.").rpartition(".")[0]
        return super()._is_adapted(name) and layer not in norm_layers(self.backbone)
