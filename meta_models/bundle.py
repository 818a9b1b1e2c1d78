"""Adapted tensors in one safetensors file, with what they need to answer again: data, never code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from meta_models.catalogue import Catalogue, Published
from meta_models.exported import AdaptedAbout, NotAnExportError
from meta_models.manifest import META_PARAMS_FILE
from meta_models.serving import Arrays, ServedModel, probabilities


class BundleAbout(AdaptedAbout):
    """Metadata of a bundle; `weights` names the tensors, whatever the classes are called."""

    kind: Literal["bundle"] = "bundle"
    weights: str


@dataclass(frozen=True)
class Bundle:
    """A read bundle: adapted tensors by the names of the head's graph inputs."""

    about: BundleAbout
    adapted: Arrays

    @classmethod
    def load(cls, data: bytes) -> Self:
        """From a file's bytes.

        Raises:
            NotAnExportError: it is no bundle.
        """
        try:
            size = int.from_bytes(data[:8], "little")
            metadata = json.loads(data[8 : 8 + size]).get("__metadata__", {})
            tensors = safetensors.numpy.load(data)
        except (ValueError, AttributeError, SafetensorError) as error:
            raise NotAnExportError(f"the data is not a safetensors file: {error}") from error
        return cls(BundleAbout.from_metadata(metadata), tensors)

    def open(self, published: Published | None = None) -> BundleClassifier:
        """Ready to classify, with the graphs of its meta-model.

        Args:
            published: the meta-model; by default the one of this installation.

        Raises:
            UnknownMetaModelError: it is not published here.
            NotAnExportError: what is published here under that name has other weights, or is another one.
        """
        published = published or Catalogue().resolve(self.about.meta_model)
        found = published.manifest
        if (found.reference, found.files[META_PARAMS_FILE]) != (self.about.meta_model, self.about.meta_model_digest):
            raise NotAnExportError(
                f"the bundle was adapted from another {self.about.meta_model} than the one in {published.folder}"
            )
        return BundleClassifier(self, ServedModel(published.folder, found))


@dataclass(frozen=True)
class BundleClassifier:
    """A bundle beside the graphs of its meta-model."""

    bundle: Bundle
    served: ServedModel

    def __call__(self, inputs: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(n, *shape) to probabilities (n, n_way) and rejected (n,)."""
        calibration = self.bundle.about.calibration
        logits = self.served.logits(self.bundle.adapted, self.served.features(inputs))
        return probabilities(logits, calibration), logits.max(1) < calibration.rejection_logit


def dump(about: BundleAbout, adapted: Arrays) -> bytes:
    """The file's bytes; `Bundle.load` reads them."""
    return safetensors.numpy.save(adapted, about.to_metadata())
