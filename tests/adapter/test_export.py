"""An export that would answer otherwise than the service is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adapter.errors import ExportDiffers
from adapter.export import FORMATS, MAX_PROOF_EXAMPLES, Subject, proof_rows
from adapter.models import Adaptation, ClassCount, ModelSpec
from adapter.predictor import Predictor
from meta_models import pixels_graph
from meta_models.catalogue import Catalogue
from meta_models.inputs import DrawingSpec
from meta_models.inputs.picture import preprocess
from tests.drawings import sketch


@pytest.fixture(scope="module")
def subject() -> Subject:
    """Two sketches as prototypes, with the service's own answers."""
    catalogue = Catalogue()
    published = catalogue.resolve("omniglot-protonet")
    predictor = Predictor(catalogue)
    classes = (ClassCount(name="a", examples=1), ClassCount(name="b", examples=1))
    spec = ModelSpec(
        meta_model=published.manifest.reference,
        modality="image",
        classes=classes,
        adaptation=Adaptation(),
        digest="sha256:test",
        weights="test",
    )
    inputs = np.stack([preprocess(sketch(kind, 0), published.manifest.input) for kind in (1, 2)])
    shape = published.manifest.adapted_tensors["prototypes"]
    prototypes = np.random.default_rng(0).normal(size=(2, int(shape[1]))).astype(np.float32)
    adapted = {"prototypes": prototypes}
    return Subject(
        published,
        "mdl_test",
        spec,
        adapted,
        predictor.calibration(spec),
        inputs,
        lambda given: predictor.predict(spec, adapted, given),
    )


@pytest.mark.parametrize("to", FORMATS)
def test_agreement_is_measured(subject: Subject, to: str) -> None:
    made = FORMATS[to](subject)
    assert 0 <= made.parity.max_difference <= 1e-5
    assert made.parity.examples == 2
    assert made.parity.pictures == (6 if to == "onnx" else 0)


@pytest.mark.parametrize("to", FORMATS)
def test_other_tensors_than_the_served_ones_are_refused(subject: Subject, to: str) -> None:
    drifted = {"prototypes": subject.adapted["prototypes"][::-1].copy()}
    with pytest.raises(ExportDiffers, match="nothing was exported"):
        FORMATS[to](replace(subject, adapted=drifted))


@pytest.mark.parametrize("to", FORMATS)
def test_another_threshold_than_the_served_one_is_refused(subject: Subject, to: str) -> None:
    rejected = subject.serve(subject.inputs).rejected[0]
    other = subject.calibration.model_copy(update={"rejection_logit": -1e6 if rejected else 1e6})
    with pytest.raises(ExportDiffers, match="reject"):
        FORMATS[to](replace(subject, calibration=other))


def test_numbers_that_are_not_finite_are_refused(subject: Subject) -> None:
    broken = {"prototypes": np.full_like(subject.adapted["prototypes"], np.nan)}
    with pytest.raises(ExportDiffers):
        FORMATS["onnx"](replace(subject, adapted=broken))


@pytest.mark.parametrize("off_by_one", ["ends = Identity (lasts)", "ends = Add (lasts, two)"])
def test_a_crop_that_is_off_by_one_pixel_is_refused(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, off_by_one: str
) -> None:
    right = pixels_graph.KINDS[DrawingSpec]
    assert "ends = Add (lasts, one)" in right(DrawingSpec())
    monkeypatch.setitem(
        pixels_graph.KINDS, DrawingSpec, lambda spec: right(spec).replace("ends = Add (lasts, one)", off_by_one)
    )
    with pytest.raises(ExportDiffers, match="nothing was exported"):
        FORMATS["onnx"](subject)


@pytest.mark.parametrize(("n", "expected"), [(1, 1), (25, 25), (256, 256), (257, 256), (5000, 256)])
def test_proof_rows_span_the_support_set(n: int, expected: int) -> None:
    rows = proof_rows(n)
    assert len(rows) == expected <= MAX_PROOF_EXAMPLES
    assert rows[0] == 0
    assert rows[-1] == n - 1
