"""What every algorithm is: a handful of pure functions over dictionaries of tensors.

The one idea: a meta-model splits into a *body* that all adapted models share and a part that adaptation
changes. `adapt` and `head` see only the body's output. Where nothing is shared (MAML), the body is
the identity and features are the inputs themselves.

    adapted = adapt(meta_params, body(meta_params, support_inputs), labels, n_way)
    logits  = head(meta_params, adapted, body(meta_params, query_inputs))
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class InnerSettings:
    """What a client may change about the inner loop.

    Attributes:
        inner_steps: gradient steps; 0 leaves the initialization.
        inner_lr: their step size.
    """

    inner_steps: int
    inner_lr: float


OnStep = Callable[[int, float], None]
"""Called before each inner step with (step, support loss)."""


@dataclass(frozen=True)
class Episode:
    """Tensors of one episode.

    Attributes:
        support_inputs: (n_support, *input_shape) float32 in [0, 1].
        support_labels: (n_support,) int64 in [0, n_way).
        query_inputs: (n_query, *input_shape).
        query_labels: (n_query,).
        n_way: number of classes.
        class_ids: (n_way,) which class of the pool each one is, for objectives that pour all classes together.
        taught: (n_support + n_query, n_classes) a teacher's logits over all classes, to learn besides the labels.
    """

    support_inputs: Tensor
    support_labels: Tensor
    query_inputs: Tensor
    query_labels: Tensor
    n_way: int
    class_ids: Tensor | None = None
    taught: Tensor | None = None


class Algorithm(Protocol):
    """Pure functions bound to a backbone; nothing per call is kept on `self`."""

    name: ClassVar[str]

    @property
    def shares_body(self) -> bool:
        """False where `body` is the identity."""
        ...

    @property
    def backbone(self) -> nn.Module: ...

    @property
    def inner(self) -> InnerSettings | None:
        """Defaults of the inner loop, None where adapting takes no steps."""
        ...

    def init(self) -> Tensors:
        """Fresh meta_params: the backbone's tensors as `backbone.*`, then the algorithm's own.

        What only the outer loop needs is named `outer.*` and is not published.
        """
        ...

    def body(self, meta_params: Tensors, inputs: Tensor, *, training: bool = False) -> Tensor:
        """(n, *input_shape) to the features all adapted models share.

        With `training`, normalisation uses and updates batch statistics in `meta_params`.
        """
        ...

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
        """Support features (n_support, …) and labels (n_support,) to adapted tensors.

        `create_graph` keeps what the outer loop differentiates through.
        """
        ...

    def head(self, meta_params: Tensors, adapted: Tensors, features: Tensor) -> Tensor:
        """Query features (n_query, …) to logits (n_query, n_way)."""
        ...


@runtime_checkable
class OwnObjective(Protocol):
    """An algorithm whose outer loop does something else than lower the query loss."""

    def meta_loss(
        self, meta_params: Tensors, episode: Episode, *, training: bool, progress: float
    ) -> tuple[Tensor, Tensor]:
        """(loss to differentiate, accuracy to watch); `progress` runs from 0 to 1 in meta-training."""
        ...


@runtime_checkable
class Settles(Protocol):
    """An algorithm that takes something from the training classes once the outer loop is over."""

    def settle(self, meta_params: Tensors, features: Callable[[], Tensor]) -> Tensors:
        """meta_params made of these and of the body's features of training examples as they are, (n, d), which are
        computed when asked for."""
        ...


@runtime_checkable
class HoldsOut(Protocol):
    """An algorithm that knows what adapting without one of the examples would answer, and need not do it."""

    def held_out(self, meta_params: Tensors, features: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """Support features (n, …) and labels (n,) to logits (n, n_way), each example's from adapting to the others; NaN
        for the only example of a class."""
        ...


@runtime_checkable
class SeesViews(Protocol):
    """An algorithm that adapts to views of an example besides it, where its class has no other but copies of it."""

    @property
    def n_support_views(self) -> int:
        """0 where it wants none. Else `adapt` takes features (n_support, 1 + n_support_views, d) too: each example's
        and those of its views, or its own again."""
        ...

    def support_views(self, inputs: Tensor) -> Tensor:
        """(n, *input_shape) float32 to (n, n_support_views, *input_shape)."""
        ...


@runtime_checkable
class CapsSteps(Protocol):
    """An algorithm that learned something for each inner step and cannot take more of them."""

    @property
    def max_steps(self) -> int: ...


def with_backbone(backbone: nn.Module, meta_params: Tensors, inputs: Tensor, *, training: bool = False) -> Tensor:
    """Run the backbone with the tensors named `backbone.*` in `meta_params`."""
    tensors = {name.removeprefix("backbone."): t for name, t in meta_params.items() if name.startswith("backbone.")}
    return torch.func.functional_call(backbone.train(training), tensors, (inputs,))


def init_backbone(backbone: nn.Module) -> Tensors:
    """Fresh tensors of `backbone`, named `backbone.*`; running counters are left out."""
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    state = {f"backbone.{name}": t.detach().clone() for name, t in backbone.state_dict().items()}
    return {name: t for name, t in state.items() if t.is_floating_point()}


def n_features(backbone: nn.Module) -> int:
    """Length of the backbone's feature vectors."""
    return cast(int, backbone.n_features)


def norm_layers(backbone: nn.Module) -> list[str]:
    """Names of the backbone's batch normalisations.

    Raises:
        ValueError: it has none of pictures' channels, which is what who asks would change.
    """
    found = [name for name, module in backbone.named_modules() if isinstance(module, nn.BatchNorm2d)]
    if not found:
        raise ValueError(f"{type(backbone).__name__} has no BatchNorm2d, which this algorithm learns to change")
    return found


def meta_loss(
    algorithm: Algorithm, meta_params: Tensors, episode: Episode, *, training: bool, progress: float = 1.0
) -> tuple[Tensor, Tensor]:
    """(loss, accuracy) of an episode: the algorithm's own objective, or else the query loss after adapting
    to the support set (Finn et al. 2017, eq. 1).
    """
    if isinstance(algorithm, OwnObjective):
        return algorithm.meta_loss(meta_params, episode, training=training, progress=progress)
    inputs = torch.cat([episode.support_inputs, episode.query_inputs])
    return loss_of_features(algorithm, meta_params, algorithm.body(meta_params, inputs, training=training), episode)


def loss_of_features(
    algorithm: Algorithm,
    meta_params: Tensors,
    features: Tensor,
    episode: Episode,
    change: Callable[[Tensors], Tensors] = lambda adapted: adapted,
) -> tuple[Tensor, Tensor]:
    """(query loss, accuracy) after adapting, from what the body made of the support examples and then the queries;
    `change` is made to the adapted tensors while they are learned from."""
    n_support = len(episode.support_labels)
    # What follows a shared body is small: it keeps full precision whatever the body ran in.
    with full_precision(features) if algorithm.shares_body else nullcontext():
        features = features.float()
        adapted = algorithm.adapt(
            meta_params, features[:n_support], episode.support_labels, episode.n_way, create_graph=True
        )
        logits = algorithm.head(meta_params, change(adapted), features[n_support:])
    return query_loss(logits, episode.query_labels)


def query_loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(cross-entropy, accuracy) of logits (n_query, n_way)."""
    logits = logits.float()
    return functional.cross_entropy(logits, labels), (logits.detach().argmax(1) == labels).float().mean()


def full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    """No automatic bfloat16 on the tensor's device."""
    return torch.autocast(tensor.device.type, enabled=False)


def class_means(features: Tensor, labels: Tensor, n_way: int) -> Tensor:
    """Mean feature of each class: (n_support, d) and (n_support,) to (n_way, d)."""
    members = memberships(labels, n_way).to(features.dtype)
    return (members.T @ features) / members.sum(0)[:, None]


def memberships(labels: Tensor, n_way: int) -> Tensor:
    """(n_support, n_way) float32, 1 where the example is of the class.

    `one_hot` would do, but that one needs a constant `n_way` where the adapting graph is exported.
    """
    return (labels[:, None] == torch.arange(n_way, device=labels.device)).float()


def row_sums(rows: Tensor) -> Tensor:
    """(n, d) to (n, 1), by a matrix product with two columns of ones.

    ONNX Runtime's own sums, and its products with one column, round a row by where it stands in its batch.
    """
    return (rows @ rows.new_ones(rows.shape[1], 2))[:, :1]
