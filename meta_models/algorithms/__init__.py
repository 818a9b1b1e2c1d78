"""The ways of learning to learn. Adding one is one file and one line below; the suite in tests runs over all."""

from __future__ import annotations

from collections.abc import Callable

from meta_models.algorithms.anil import ANIL
from meta_models.algorithms.cnaps import CNAPs
from meta_models.algorithms.committee import Committee
from meta_models.algorithms.contrastive import Contrastive
from meta_models.algorithms.lstm_optimizer import LSTMOptimizer
from meta_models.algorithms.maml import MAML
from meta_models.algorithms.mamlpp import MAMLPP
from meta_models.algorithms.matching import Matching
from meta_models.algorithms.meta_curvature import MetaCurvature
from meta_models.algorithms.meta_sgd import MetaSGD
from meta_models.algorithms.named import Named
from meta_models.algorithms.pretrain import Pretrain
from meta_models.algorithms.protocol import Algorithm, Episode, InnerSettings, Tensors, meta_loss
from meta_models.algorithms.protonet import ProtoNet
from meta_models.algorithms.relation import Relation
from meta_models.algorithms.reptile import Reptile
from meta_models.algorithms.reweight import Reweight
from meta_models.algorithms.ridge import Ridge
from meta_models.algorithms.standardized import Standardized
from meta_models.algorithms.views import LearnedViews

ALGORITHMS: dict[str, Callable[..., Algorithm]] = {
    "anil": ANIL,
    "cnaps": CNAPs,
    "committee": Committee,
    "contrastive": Contrastive,
    "lstm_optimizer": LSTMOptimizer,
    "maml": MAML,
    "mamlpp": MAMLPP,
    "matching": Matching,
    "meta_curvature": MetaCurvature,
    "meta_sgd": MetaSGD,
    "named": Named,
    "pretrain": Pretrain,
    "protonet": ProtoNet,
    "relation": Relation,
    "reptile": Reptile,
    "reweight": Reweight,
    "ridge": Ridge,
    "standardized": Standardized,
    "views": LearnedViews,
}

__all__ = ["ALGORITHMS", "Algorithm", "Episode", "InnerSettings", "Tensors", "meta_loss"]
