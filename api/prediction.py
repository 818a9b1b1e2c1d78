"""From queries as they arrived to worded results."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from adapter.errors import TooLarge, Unprocessable
from adapter.models import ModelRecord
from adapter.predictor import Prediction
from adapter.store import Arrays
from api.decode import UndecodableError
from api.requests import QueryBatch
from api.schemas import ItemError, Result, Score
from api.services import Services
from meta_models.preprocess import InputSpec


def check_size(services: Services, n: int, what: str = "inputs") -> None:
    """Refuse an empty or oversized batch.

    Raises:
        Unprocessable: there is no input.
        TooLarge: there are too many.
    """
    if not n:
        raise Unprocessable(f"{what} is empty; send at least one", code=f"no_{what}", pointer=f"/{what}")
    if n > services.settings.max_queries:
        raise TooLarge(
            f"at most {services.settings.max_queries} {what} a request, found {n}",
            code="too_many_inputs",
            pointer=f"/{what}",
        )


def answer(services: Services, record: ModelRecord, adapted: Arrays, batch: QueryBatch) -> list[Result]:
    """One result per input, in order; an input that cannot be decoded gets its own error."""
    spec = record.spec
    input_spec = services.catalogue.resolve(spec.meta_model).manifest.input
    decoded = [decode(services, payload.content, input_spec) for payload in batch.payloads]
    inputs = [d for d in decoded if isinstance(d, np.ndarray)]
    predict = partial(services.predictor.predict, spec, adapted, false_reject=record.head.false_reject)
    predictions = iter(predict(np.stack(inputs)) if inputs else [])
    names = [c.name for c in spec.classes]
    return [
        Result(id=given, error=d) if isinstance(d, ItemError) else _word(given, next(predictions), names, batch.top_k)
        for given, d in zip(batch.ids, decoded, strict=True)
    ]


def decode(services: Services, content: bytes | str, spec: InputSpec) -> NDArray[np.uint8] | ItemError:
    """One query as the meta-model reads it, or what is wrong with it."""
    try:
        return services.decoder.one(content, spec)
    except UndecodableError as error:
        return ItemError(code=error.code, status=error.status, detail=str(error))


def _word(given: str | None, prediction: Prediction, names: list[str], top_k: int) -> Result:
    # Equal probabilities are listed by name, so that the order of classes never shows.
    order = sorted(range(len(names)), key=lambda i: (-prediction.probabilities[i], names[i]))
    best = order[0]
    return Result(
        id=given,
        label=None if prediction.rejected else names[best],
        confidence=float(prediction.probabilities[best]),
        rejected=prediction.rejected,
        scores=[Score(label=names[i], probability=float(prediction.probabilities[i])) for i in order[:top_k]],
    )
