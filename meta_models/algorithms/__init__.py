"""The ways of learning to learn. Adding one is one file and one line below; the suite in tests runs over all."""

from __future__ import annotations

from collections.abc import Callable

from meta_models.algorithms.maml import MAML
from meta_models.algorithms.matching import Matching
from meta_models.algorithms.protocol import Algorithm, Episode, InnerSettings, Tensors, meta_loss
from meta_models.algorithms.protonet import ProtoNet
from meta_models.algorithms.ridge import Ridge

ALGORITHMS: dict[str, Callable[..., Algorithm]] = {
    "maml": MAML,
    "matching": Matching,
    "protonet": ProtoNet,
    "ridge": Ridge,
}

__all__ = ["ALGORITHMS", "Algorithm", "Episode", "InnerSettings", "Tensors", "meta_loss"]
