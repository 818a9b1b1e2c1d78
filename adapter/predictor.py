"""Answers queries: ONNX sessions of the published meta-models and a cache of adapted tensors. No torch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter.errors import MetaModelGone
from adapter.models import ModelSpec
from adapter.store import Arrays
from meta_models.catalogue import Catalogue
from meta_models.manifest import Calibration
from meta_models.on_demand import OnDemand
from meta_models.serving import ServedModel, probabilities


@dataclass(frozen=True)
class Predictions:
    """Answers to n queries.

    Attributes:
        probabilities: (n, n_way) calibrated, columns in the order of the model's classes.
        rejected: (n,) unlike every class.
        best_logits: (n,) the largest logit, which the rejection threshold is compared with.
    """

    probabilities: NDArray[np.float64]
    rejected: NDArray[np.bool_]
    best_logits: NDArray[np.float32]


class Predictor:
    """Shared by all requests of a process; safe between threads."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._served = OnDemand(catalogue, lambda p: ServedModel(p.folder, p.manifest))

    def calibration(self, spec: ModelSpec, false_reject: float | None = None) -> Calibration:
        """Temperature and rejection threshold that answers of this model are given with.

        `false_reject` is the target share of known queries that may be rejected; None takes the meta-model's.
        """
        measured = self._model(spec).calibration_for(len(spec.classes), spec.mean_shot)
        return measured.model_copy(update={"rejection_logit": measured.reject_below(false_reject)})

    def predict(
        self, spec: ModelSpec, adapted: Arrays, inputs: NDArray[Any], false_reject: float | None = None
    ) -> Predictions:
        """(n, *shape) queries to their predictions; every answer depends on its own query alone."""
        model, calibration = self._model(spec), self.calibration(spec, false_reject)
        logits = model.logits(adapted, model.features(inputs))
        best = logits.max(1)
        return Predictions(probabilities(logits, calibration), best < calibration.rejection_logit, best)

    def _model(self, spec: ModelSpec) -> ServedModel:
        try:
            return self._served[spec.meta_model]
        except KeyError as error:
            raise MetaModelGone(
                f"the folder of {spec.meta_model} was replaced under this server; restart API and workers and ask again"
            ) from error


class WeightsCache:
    """Adapted tensors last used, up to a number of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._entries: OrderedDict[tuple[str, str], Arrays] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, owner: str, digest: str) -> Arrays | None:
        with self._lock:
            found = self._entries.get((owner, digest))
            if found is not None:
                self._entries.move_to_end((owner, digest))
            return found

    def put(self, owner: str, digest: str, tensors: Arrays) -> None:
        with self._lock:
            if (owner, digest) not in self._entries:
                self._bytes += _size(tensors)
            self._entries[owner, digest] = tensors
            self._entries.move_to_end((owner, digest))
            while self._bytes > self._max_bytes and len(self._entries) > 1:
                self._bytes -= _size(self._entries.popitem(last=False)[1])


def _size(tensors: Arrays) -> int:
    return sum(t.nbytes for t in tensors.values())
