"""Small classes to learn from: sketches, pre-processed like any user's picture."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from meta_models.datasets import ClassPool
from meta_models.inputs.drawing import DrawingSpec
from meta_models.inputs.picture import preprocess
from meta_models.own_classes import MIN_CLASSES, MIN_EXAMPLES
from meta_models.splits import Protocol, Splits
from tests.drawings import png, sketch

SPEC = DrawingSpec(size=28)


@pytest.fixture(scope="session", autouse=True)
def operators_read_once() -> Iterator[None]:
    """For every graph torch's exporter parses the sources of all its operators anew, nearly a second each time; of what
    it makes of them it changes nothing."""
    with pytest.MonkeyPatch.context() as patched:
        with suppress(ImportError, AttributeError):  # elsewhere in other versions: then it takes longer
            from torch.onnx._internal.exporter._registration import ONNXRegistry

            patched.setattr(ONNXRegistry, "from_torchlib", staticmethod(functools.cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture(scope="session")
def pool() -> ClassPool:
    """24 classes of 12 sketches in three groups."""
    n_classes, n_examples = 24, 12
    inputs = np.stack([preprocess(sketch(c, e), SPEC) for c in range(n_classes) for e in range(n_examples)])
    rows = np.arange(n_classes * n_examples).reshape(n_classes, n_examples)
    names = tuple(f"class {c}" for c in range(n_classes))
    return ClassPool(inputs, tuple(rows), names, np.repeat(np.arange(3), 8))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As few classes of one's own as will do, a folder each, every second with a picture more."""
    folder = tmp_path_factory.mktemp("pictures")
    for kind in range(MIN_CLASSES):
        (folder / f"kind {kind}").mkdir()
        for example in range(MIN_EXAMPLES + kind % 2):
            (folder / f"kind {kind}" / f"{example}.png").write_bytes(png(kind, example))
    (folder / ".hidden").mkdir()
    return folder


@pytest.fixture
def splits(pool: ClassPool) -> Splits:
    """A group of classes for each part."""
    train, development, test = (pool.subset(pool.class_groups == group) for group in range(3))
    return Splits((train,), (development,), (Protocol("L", test, 1.0),))
