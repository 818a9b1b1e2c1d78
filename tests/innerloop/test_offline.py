"""Exports asked without a server: what cannot stand beside the examples is told, the rest is answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from innerloop import offline
from meta_models.catalogue import Catalogue
from meta_models.export_adapting import export_adapting
from meta_models.torch_model import TorchModel
from tests.vectors import npy


@pytest.fixture(scope="module")
def adapting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Takes vectors of any length."""
    published = Catalogue().resolve("vector-prototype")
    made = export_adapting(TorchModel.load(published.folder, published.manifest), published.manifest, None)
    path = tmp_path_factory.mktemp("offline") / "adapting.onnx"
    path.write_bytes(made.data)
    return path


def test_a_vector_of_another_length_is_told(adapting: Path) -> None:
    support = [("low", npy([0, 0.1, 0])), ("high", npy([5, 5, 4.9]))]
    good, bad = offline.classify(adapting, support, [npy([5, 4.8, 5]), npy([5, 5])])
    assert good["label"] == "high"
    assert bad["error"]["detail"] == "this input has 2 dimensions, the model's have 3"
    with pytest.raises(ValueError, match=r"1 of 3 examples cannot be used\n  example 2: this input has 2 dim"):
        offline.classify(adapting, [*support, ("high", npy([5, 5]))], [npy([5, 4.8, 5])])
