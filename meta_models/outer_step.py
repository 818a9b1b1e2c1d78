"""One step of the outer loop: episodes, the algorithm's objective, the optimizer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from meta_models.algorithms import Algorithm, Episode, Tensors, meta_loss
from meta_models.augment import AugmentSpec
from meta_models.captured import Captured, to_device
from meta_models.meta_batch import can_be_at_once, losses_at_once, of_one_shape
from meta_models.recipe import Outer, Recipe
from meta_models.splits import Pools
from meta_models.teacher import Teacher
from meta_models.training_episodes import Drawn, draw, fetch_episode

CAPTURABLE = frozenset(
    {"protonet", "committee", "pretrain", "contrastive", "matching", "relation", "maml", "meta_sgd", "meta_curvature"}
)
"""Algorithms whose step never waits for the device and is the same from first to last: on CUDA it is recorded."""


class Learner:
    """Tensors that learn from the same pools of classes, with their optimizer."""

    def __init__(
        self,
        algorithm: Algorithm,
        recipe: Recipe,
        meta_params: Tensors,
        names: list[str],
        pools: Pools,
        lr: float,
        decay: float,
        teacher: Teacher | None = None,
        progress: float | None = None,
    ) -> None:
        """`names` are of those among `meta_params` that learn, from `pools` and what a teacher says of them.
        `progress` of meta-training is counted in steps unless given."""
        self._algorithm, self._recipe, self._meta_params = algorithm, recipe, meta_params
        self.tensors = {name: meta_params[name].requires_grad_() for name in names}
        self._device = next(iter(self.tensors.values())).device
        self._pools, self._lr, self._teacher, self._progress = pools, lr, teacher, progress
        # A backbone that stays as it is keeps its running statistics too.
        self._batch_statistics = any(
            name.startswith("backbone.") and not name.startswith(recipe.outer.frozen) for name in meta_params
        )
        self._inputs = [torch.from_numpy(pool.inputs).to(self._device) for pool in pools]
        self.optimizer = self._make_optimizer(decay)
        self.at_once = self._device.type == "cuda" and can_be_at_once(algorithm)
        recorded = self._device.type == "cuda" and len(pools) == 1 and same_every_step(recipe)
        self._captured = Captured(lambda *tensors: self._captured_work(tensors), self._device) if recorded else None

    def step(self, number: int) -> tuple[Tensor, Tensor]:
        """Outer step `number`: (mean query loss, mean accuracy), on the device."""
        self._set_lr(schedule(number, self._recipe.outer))
        size = self._recipe.outer.meta_batch_size
        drawn = [draw(self._pools, self._recipe, number * size + i) for i in range(size)]
        if self._captured:
            loss, accuracy = self._captured(*(tensor for one in drawn for tensor in one.tensors))
            return loss, accuracy
        moved = [
            Drawn(*(to_device(tensor, self._device) for tensor in one.tensors), number=one.number) for one in drawn
        ]
        counted = number / self._recipe.outer.steps
        return self._work(moved, counted if self._progress is None else self._progress)

    def moments(self) -> Tensors:
        """The optimizer's state, as checkpoints keep it."""
        return {
            f"{name}/{key}": value
            for name, parameter in self.tensors.items()
            for key, value in self.optimizer.state.get(parameter, {}).items()
            if isinstance(value, Tensor)
        }

    def _captured_work(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        per_episode = len(tensors) // self._recipe.outer.meta_batch_size
        drawn = [Drawn(*tensors[i : i + per_episode], number=0) for i in range(0, len(tensors), per_episode)]
        return self._work(drawn, progress=0.0)

    def _work(self, drawn: list[Drawn], progress: float) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad(set_to_none=True)
        learning, bfloat16 = list(self.tensors.values()), self._recipe.outer.precision == "bfloat16"
        total, correct = torch.zeros((), device=self._device), torch.zeros((), device=self._device)
        episodes = (fetch_episode(self._inputs[one.number % len(self._inputs)], one, self._recipe) for one in drawn)
        for group in of_one_shape(episodes) if self.at_once else ([episode] for episode in episodes):
            with torch.autocast(self._device.type, torch.bfloat16, enabled=bfloat16):
                loss, accuracy = self._losses(group, progress)
            (loss / len(drawn)).backward(inputs=learning)
            total, correct = total + loss.detach() / len(drawn), correct + accuracy / len(drawn)
        torch.nn.utils.clip_grad_norm_(learning, 10.0)
        self.optimizer.step()
        return total, correct

    def _losses(self, episodes: list[Episode], progress: float) -> tuple[Tensor, Tensor]:
        if len(episodes) > 1:
            return losses_at_once(self._algorithm, self._meta_params, episodes)
        [episode] = episodes
        if self._teacher:
            episode = self._teacher(episode)
        return meta_loss(
            self._algorithm, self._meta_params, episode, training=self._batch_statistics, progress=progress
        )

    def _make_optimizer(self, decay: float) -> torch.optim.Optimizer:
        cuda = self._device.type == "cuda"
        groups = [
            {"params": tensors, "lr": torch.tensor(lr, device=self._device) if cuda else lr, "outer_lr": lr}
            for lr, tensors in self._by_lr().items()
        ]
        if self._recipe.outer.optimizer == "sgd":
            return torch.optim.SGD(groups, momentum=0.9, nesterov=True, weight_decay=decay, fused=cuda or None)
        return torch.optim.Adam(groups, weight_decay=decay, fused=cuda or None, capturable=cuda)

    def _by_lr(self) -> dict[float, list[Tensor]]:
        """What learns by each step size."""
        own = self._recipe.outer.outer_lr_of
        groups: dict[float, list[Tensor]] = {}
        for name, tensor in self.tensors.items():
            lr = next((its for start, its in own.items() if name.startswith(start)), self._lr)
            groups.setdefault(lr, []).append(tensor)
        return groups

    def _set_lr(self, share: float) -> None:
        """Let every group take `share` of its step size."""
        for group in self.optimizer.param_groups:
            lr = share * group["outer_lr"]
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)  # where a recorded step reads it
            else:
                group["lr"] = lr


def same_every_step(recipe: Recipe) -> bool:
    """Whether a step does the same with all that is drawn for it: sounds and the names of texts are changed by numbers
    that are drawn within the step."""
    return recipe.algorithm["name"] in CAPTURABLE and isinstance(recipe.augment_spec, AugmentSpec)


def schedule(step: int, outer: Outer) -> float:
    """Share of `outer_lr` at a step: linear warm-up over 100 steps, half cosine, linear cool-down."""
    warm = min(1.0, (step + 1) / 100)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / (outer.horizon or outer.steps))))
    cool = min(1.0, (outer.steps - step) / outer.cooldown) if outer.cooldown else 1.0
    return warm * cosine * cool
