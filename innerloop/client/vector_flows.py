"""The calls for many vectors at once: `.npy` there, `.npz` back."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from innerloop.client.inputs import label_text, plain
from innerloop.client.steps import Flow, ModelState, Request, bar, followed, model_path, of_version, once, path_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from innerloop.client.inputs import Label

VECTOR_BATCH = 1000


@dataclass(frozen=True)
class VectorAnswers:
    """Answers to n vectors.

    Attributes:
        classes: (n_way,) names, sorted.
        probabilities: (n, n_way) calibrated, columns as `classes`; NaN for a vector that cannot be used.
        rejected: (n,) unlike every class.
        errors: (n,) empty text, or the code of what is wrong with a vector.
    """

    classes: NDArray[Any]
    probabilities: NDArray[Any]
    rejected: NDArray[Any]
    errors: NDArray[Any]


def adapt_vectors(
    vectors: ArrayLike,
    labels: Iterable[Label],
    *,
    meta_model: str | None = None,
    name: str | None = None,
    inner_steps: int | None = None,
    inner_lr: float | None = None,
    ttl_seconds: int | None = None,
    wait: float | None = 60,
) -> Flow[ModelState]:
    """`flows.adapt` for (n, n_dimensions) numbers and their n labels, sent as a `.npy` file.

    Raises:
        ValueError: they are complex numbers.
        InnerloopHTTPError: refused.
        AdaptationFailed, Canceled: it was accepted, and there will be no model after all.
        TimeoutError: not ready after `wait` seconds.
    """
    asked = {"meta_model": meta_model, "name": name, "ttl_seconds": ttl_seconds}
    adaptation = {"inner_steps": plain(inner_steps), "inner_lr": plain(inner_lr)}
    names = [label_text(label, f"row {i}") for i, label in enumerate(labels)]
    data = {**{k: str(v) for k, v in asked.items() if v is not None}, "adaptation": json.dumps(adaptation)}
    files = {"vectors": ("vectors.npy", _npy(vectors)), "labels": ("labels.json", json.dumps(names).encode())}
    request = Request("POST", "/v1/models", data=data, files=files, headers=once())
    return (yield from followed(request, wait, model_path))


def predict_vectors(
    model_id: str,
    vectors: ArrayLike,
    *,
    version: int | Literal["stable", "latest"] | None = None,
    batch: int = VECTOR_BATCH,
    progress: bool | None = None,
) -> Flow[VectorAnswers]:
    """Answers to (n, n_dimensions) numbers, as arrays: `.npy` there and `.npz` back.

    Args:
        model_id: of a ready model of vectors.
        vectors: float32 goes as it is, other numbers become float32.
        version: a number, `stable` or `latest`; None: the newest that is ready. One version gives all answers.
        batch: most rows a request.
        progress: show a bar; by default on a terminal from `BAR_FROM` rows.
    """
    import numpy as np

    given = np.asarray(vectors)
    parts: list[VectorAnswers] = []
    headers = {"Content-Type": "application/x-npy", "Accept": "application/x-npz"}
    with bar("classifying", len(given), progress) as advance:
        for start in range(0, len(given), batch):
            rows = given[start : start + batch]
            path = f"{path_of(model_id)}/predictions"
            answer = yield Request("POST", path, content=_npy(rows), headers=headers, params=of_version(version))
            with np.load(io.BytesIO(answer.content), allow_pickle=False) as found:
                parts.append(VectorAnswers(**{name: found[name] for name in VectorAnswers.__annotations__}))
            version = answer.headers.get("Innerloop-Version", version)
            advance(len(rows))
    if not parts:
        raise ValueError("there are no rows to classify")
    return VectorAnswers(
        classes=parts[0].classes,
        probabilities=np.concatenate([part.probabilities for part in parts]),
        rejected=np.concatenate([part.rejected for part in parts]),
        errors=np.concatenate([part.errors for part in parts]),
    )


def _npy(array: ArrayLike) -> bytes:
    import numpy as np

    numbers = np.asarray(array)
    if numbers.dtype.kind == "c":
        raise ValueError(f"vectors are real numbers, not {numbers.dtype}; let both parts be columns of their own")
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(numbers, np.float32), allow_pickle=False)
    return file.getvalue()
