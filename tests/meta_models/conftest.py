"""Small classes to learn from: sketches, pre-processed like any user's picture."""

from __future__ import annotations

import numpy as np
import pytest

from meta_models.datasets import ClassPool
from meta_models.inputs.drawing import DrawingSpec
from meta_models.inputs.picture import preprocess
from tests.drawings import sketch

SPEC = DrawingSpec(size=28)


@pytest.fixture(scope="session")
def pool() -> ClassPool:
    """24 classes of 12 sketches in three groups."""
    n_classes, n_examples = 24, 12
    inputs = np.stack([preprocess(sketch(c, e), SPEC) for c in range(n_classes) for e in range(n_examples)])
    rows = np.arange(n_classes * n_examples).reshape(n_classes, n_examples)
    names = tuple(f"class {c}" for c in range(n_classes))
    return ClassPool(inputs, tuple(rows), names, np.repeat(np.arange(3), 8))
