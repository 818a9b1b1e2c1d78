"""From labelled queries to a report."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adapter.errors import ErrorItem, Unprocessable
from adapter.models import ModelRecord
from adapter.store import Arrays
from api import prediction
from api.decode import Payload
from api.schemas_evaluation import (
    CalibrationBin,
    CalibrationReport,
    ClassReport,
    ConfusionMatrix,
    Evaluation,
    UnreadableQuery,
)
from api.services import Services
from meta_models.measures import CALIBRATION_BINS, calibration_bins, calibration_error, wilson


def check(services: Services, record: ModelRecord, payloads: list[Payload]) -> None:
    """Refuse what cannot be evaluated before anything is decoded.

    Raises:
        Unprocessable: no query, or labels that are no class of the model: each is named.
        TooLarge: too many.
    """
    prediction.check_size(services, len(payloads), "queries")
    known = {c.name for c in record.spec.classes}
    errors: list[ErrorItem] = [
        {"pointer": f"/queries/{i}/label", "code": "unknown_class", "detail": f"the model has no class {p.label!r}"}
        for i, p in enumerate(payloads)
        if p.label not in known
    ]
    if errors:
        raise Unprocessable(
            f"{len(errors)} of {len(payloads)} labels are no class of the model; it has {', '.join(sorted(known))}",
            code="unknown_class",
            errors=errors,
        )


def evaluate(services: Services, record: ModelRecord, adapted: Arrays, payloads: list[Payload]) -> Evaluation:
    """Decode, predict, count; CPU work only. Unreadable queries are listed and counted nowhere."""
    decoded = prediction.decode(services, record, payloads)
    readable = [p for i, p in enumerate(payloads) if i not in decoded.errors]
    # Classes by name, as clients see them; the columns of the probabilities follow.
    names = sorted(c.name for c in record.spec.classes)
    columns = [[c.name for c in record.spec.classes].index(name) for name in names]
    labels = np.array([names.index(p.label or "") for p in readable], np.int64)
    predictions = prediction.predict(services, record, adapted, decoded)
    probabilities = predictions.probabilities[:, columns]
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (labels, probabilities.argmax(1)), 1)
    right, n = int(counts.trace()), len(readable)
    return Evaluation(
        model=record.id,
        version=record.version,
        n=n,
        accuracy=right / n if n else None,
        ci95=wilson(right, n) if n else None,
        rejected=int(predictions.rejected.sum()),
        per_class=[_of_class(i, names, counts) for i in range(len(names))],
        confusion_matrix=ConfusionMatrix(labels=names, counts=counts.tolist()),
        calibration=_calibration(probabilities, labels) if n else None,
        unreadable=[UnreadableQuery(index=i, error=error) for i, error in sorted(decoded.errors.items())],
    )


def _of_class(i: int, names: list[str], counts: NDArray[np.int64]) -> ClassReport:
    right, own, given = int(counts[i, i]), int(counts[i].sum()), int(counts[:, i].sum())
    wrong = counts[i].copy()
    wrong[i] = 0
    return ClassReport(
        name=names[i],
        n=own,
        recall=right / own if own else None,
        ci95=wilson(right, own) if own else None,
        precision=right / given if given else None,
        f1=2 * right / (own + given) if own + given else None,
        mistaken_for=names[int(wrong.argmax())] if wrong.any() else None,
    )


def _calibration(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> CalibrationReport:
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    places = calibration_bins(confidence)
    return CalibrationReport(
        expected_calibration_error=calibration_error(probabilities, labels),
        bins=[
            CalibrationBin(
                low=place / CALIBRATION_BINS,
                high=(place + 1) / CALIBRATION_BINS,
                n=int((places == place).sum()),
                confidence=float(confidence[places == place].mean()),
                accuracy=float(right[places == place].mean()),
            )
            for place in sorted({int(p) for p in places})
        ],
    )
