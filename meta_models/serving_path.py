"""How the service adapts and predicts, in one process: what the worker runs, and every reported accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meta_models.algorithms import InnerSettings
from meta_models.serving import ServedModel
from meta_models.support_views import with_views
from meta_models.torch_model import Arrays, Features, TorchModel


@dataclass(frozen=True)
class ServingPath:
    """Adapts as the worker does and predicts as the API does; what every reported accuracy runs through."""

    served: ServedModel
    torch_model: TorchModel

    @property
    def shares_body(self) -> bool:
        return self.served.shares_body

    def features(self, inputs: NDArray[Any]) -> Features:
        return self.served.features(inputs)

    def support_features(self, inputs: NDArray[Any], labels: NDArray[np.int64] | None = None) -> Features:
        """What `adapt` reads of a support set: `with_views`."""
        return with_views(self.features, self.torch_model, inputs, labels)

    def adapt(
        self, features: Features, labels: NDArray[np.int64], n_way: int, inner: InnerSettings | None = None
    ) -> Arrays:
        return self.torch_model.adapt(features, labels, n_way, inner)

    def logits(self, adapted: Arrays, features: Features) -> NDArray[np.float32]:
        return self.served.logits(adapted, self.torch_model.of_queries(features))
