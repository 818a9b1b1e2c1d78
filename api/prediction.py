"""From queries as they arrived to worded results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter.errors import TooLarge, Unprocessable
from adapter.models import ModelRecord
from adapter.predictor import Predictions
from adapter.store import Arrays
from api.arrays import npz
from api.decode import Payload
from api.requests import QueryBatch
from api.schemas import ItemError, Result, Score
from api.services import Services
from meta_models.inputs import InputSpec, UnreadableInput, VectorSpec
from meta_models.inputs.vector import read_rows


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


@dataclass(frozen=True)
class Decoded:
    """Queries as the meta-model reads them.

    Attributes:
        inputs: (n_readable, …), in order.
        errors: what is wrong with each of the others, by its place.
    """

    inputs: NDArray[Any]
    errors: dict[int, ItemError]

    def places(self, n: int) -> NDArray[np.int64]:
        """(n_readable,) place of each readable query among all `n`."""
        return np.array([i for i in range(n) if i not in self.errors], np.int64)


def decode(services: Services, record: ModelRecord, payloads: list[Payload] | NDArray[Any]) -> Decoded:
    """Read queries for a model; one that cannot be read gets an error of its own.

    Raises:
        Unprocessable: they came as an array, which is wrong as a whole.
    """
    spec, shape = services.catalogue.resolve(record.spec.meta_model).manifest.input, record.spec.input_shape
    if not isinstance(payloads, list):
        return _decode_array(spec, shape, payloads)
    found = services.decoder.each(payloads, spec, shape)
    inputs = [one for one in found if not isinstance(one, UnreadableInput)]
    errors = {i: _item(one) for i, one in enumerate(found) if isinstance(one, UnreadableInput)}
    return Decoded(np.stack(inputs) if inputs else np.empty((0, *shape), spec.dtype), errors)


def _decode_array(spec: InputSpec, shape: tuple[int, ...], array: NDArray[Any]) -> Decoded:
    if not isinstance(spec, VectorSpec):
        raise Unprocessable(
            f'an array of vectors is no {spec.modality}; send {{"{spec.modality}": …}}', code="wrong_modality"
        )
    try:
        inputs, broken = read_rows(array, *shape)
    except UnreadableInput as error:
        raise Unprocessable(str(error), code=error.code) from error
    return Decoded(inputs, {i: _item(error) for i, error in broken.items()})


def predict(services: Services, record: ModelRecord, adapted: Arrays, decoded: Decoded) -> Predictions:
    """Answers to the readable queries, as this model gives them now."""
    if not len(decoded.inputs):
        n_way = len(record.spec.classes)
        return Predictions(np.empty((0, n_way)), np.empty(0, np.bool_), np.empty(0, np.float32))
    return services.predictor.predict(record.spec, adapted, decoded.inputs, record.head.false_reject)


def answer(services: Services, record: ModelRecord, adapted: Arrays, batch: QueryBatch) -> list[Result]:
    """One result per input, in order; an input that cannot be read gets its own error."""
    decoded = decode(services, record, batch.payloads)
    found = predict(services, record, adapted, decoded)
    names = [c.name for c in record.spec.classes]
    answers = iter(zip(found.probabilities, found.rejected, strict=True))
    return [
        Result(id=given, error=decoded.errors[i])
        if i in decoded.errors
        else _word(given, *next(answers), names, batch.top_k)
        for i, given in enumerate(batch.each_id)
    ]


def answer_arrays(services: Services, record: ModelRecord, adapted: Arrays, batch: QueryBatch) -> bytes:
    """The same as a `.npz` file, without a Python object for each input.

    `probabilities` (n, n_way) float32 with columns as `classes`, `classes` sorted by name, `rejected` (n,);
    `errors` (n,) is empty text but where an input cannot be read, whose probabilities are NaN.
    """
    decoded = decode(services, record, batch.payloads)
    found = predict(services, record, adapted, decoded)
    names = np.array([c.name for c in record.spec.classes])
    order, n = np.argsort(names), len(batch)
    probabilities, rejected = found.probabilities[:, order].astype(np.float32), found.rejected
    errors = np.array(["" if i not in decoded.errors else decoded.errors[i].code for i in range(n)])
    if decoded.errors:
        places = decoded.places(n)
        everywhere, nowhere = np.full((n, len(names)), np.nan, np.float32), np.zeros(n, np.bool_)
        everywhere[places], nowhere[places] = probabilities, rejected
        probabilities, rejected = everywhere, nowhere
    return npz({"probabilities": probabilities, "classes": names[order], "rejected": rejected, "errors": errors})


def _item(error: UnreadableInput) -> ItemError:
    return ItemError(code=error.code, status=error.status, detail=str(error))


def _word(given: str | None, row: NDArray[np.float64], rejected: np.bool_, names: list[str], top_k: int) -> Result:
    # Equal probabilities are listed by name, so that the order of classes never shows.
    order = sorted(range(len(names)), key=lambda i: (-row[i], names[i]))
    best = order[0]
    return Result(
        id=given,
        label=None if rejected else names[best],
        confidence=float(row[best]),
        rejected=bool(rejected),
        scores=[Score(label=names[i], probability=float(row[i])) for i in order[:top_k]],
    )
