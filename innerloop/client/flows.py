"""Every call once: as a generator that yields requests and gets answers, whoever sends them.

`Client` and `AsyncClient` (clients.py) run the same generators, one blocking, one awaiting.
"""

from __future__ import annotations

import base64
import io
import json
import secrets
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from innerloop.client.errors import error_of
from innerloop.client.inputs import as_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from innerloop.client.inputs import Input

T = TypeVar("T")

BATCH = 200
BATCH_BYTES = 16 * 2**20
"""Inputs of one prediction request: so many, or so many bytes of them."""

VECTOR_BATCH = 1000

BAR_FROM = 500
"""Inputs from which a progress bar is worth its lines."""


@dataclass(frozen=True)
class Request:
    """To be sent, again where it may be; what comes back is a response of success."""

    method: str
    path: str
    json: Any = None
    content: bytes | None = None
    data: dict[str, Any] | None = None
    files: dict[str, tuple[str, bytes]] | None = None
    """`json`, `content`, or the fields and files of a form."""
    params: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0
    """How long the server may take to answer, where that is longer than the client's timeout."""


@dataclass(frozen=True)
class Pause:
    """To be slept."""

    seconds: float


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


Flow = Generator[Request | Pause, Any, T]
"""Is sent the `httpx.Response` to each request."""


def meta_models() -> Flow[list[dict[str, Any]]]:
    """Every published meta-model, with limits and measured accuracy."""
    return (yield Request("GET", "/v1/meta-models")).json()["data"]


def limits() -> Flow[dict[str, Any]]:
    """Every cap of the server."""
    return (yield Request("GET", "/v1/limits")).json()


def adapt(
    support: Iterable[tuple[str, Input]],
    *,
    meta_model: str | None = None,
    name: str | None = None,
    inner_steps: int | None = None,
    inner_lr: float | None = None,
    ttl_seconds: int | None = None,
    webhook: dict[str, str] | None = None,
    wait: float = 60,
) -> Flow[dict[str, Any]]:
    """Adapt to (label, input) pairs and wait until the model is ready.

    `webhook` has the `url` that is told when it, or a later version, is ready or failed, and a `secret` unless the API
    key's own is to sign. Sent again under the same idempotency key where the connection breaks: never two models.

    Raises:
        InnerloopHTTPError: refused, or adapting failed.
        TimeoutError: not ready after `wait` seconds.
    """
    body = {
        "meta_model": meta_model,
        "name": name,
        "support": _support(support),
        "adaptation": {"inner_steps": inner_steps, "inner_lr": inner_lr},
        "ttl_seconds": ttl_seconds,
        "webhook": webhook,
    }
    return (yield from _until_ready(wait, json=body))


def adapt_vectors(
    vectors: NDArray[Any],
    labels: Sequence[str],
    *,
    meta_model: str | None = None,
    name: str | None = None,
    inner_steps: int | None = None,
    inner_lr: float | None = None,
    ttl_seconds: int | None = None,
    wait: float = 60,
) -> Flow[dict[str, Any]]:
    """The same for (n, n_dimensions) numbers and their n labels, sent as a `.npy` file.

    Raises:
        InnerloopHTTPError: refused, or adapting failed.
        TimeoutError: not ready after `wait` seconds.
    """
    asked = {"meta_model": meta_model, "name": name, "ttl_seconds": ttl_seconds}
    adaptation = {"inner_steps": inner_steps, "inner_lr": inner_lr}
    data = {**{k: str(v) for k, v in asked.items() if v is not None}, "adaptation": json.dumps(adaptation)}
    files = {"vectors": ("vectors.npy", _npy(vectors)), "labels": ("labels.json", json.dumps(list(labels)).encode())}
    return (yield from _until_ready(wait, data=data, files=files))


def _until_ready(wait: float, **body: Any) -> Flow[dict[str, Any]]:
    headers = {"Idempotency-Key": secrets.token_hex(16), "Prefer": f"wait={wait:g}"}
    deadline = time.monotonic() + wait
    found = (yield Request("POST", "/v1/models", headers=headers, seconds=wait + 10, **body)).json()
    pause = 0.1
    while found["status"] in ("queued", "adapting"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"model {found['id']} is still {found['status']} after {wait:g} s")
        yield Pause(pause)
        pause = min(1.0, 1.5 * pause)
        found = yield from model(found["id"])
    if found["status"] == "failed":
        raise error_of({"status": 422, **found["error"]})
    return found


def models() -> Flow[list[dict[str, Any]]]:
    """Your models, newest first, all pages."""
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = (yield Request("GET", "/v1/models", params={"limit": 100, **after})).json()
        found += page["data"]
        if not page["has_more"]:
            return found
        after = {"after": page["next_cursor"]}


def model(model_id: str) -> Flow[dict[str, Any]]:
    """One model."""
    return (yield Request("GET", f"/v1/models/{model_id}")).json()


def delete(model_id: str) -> Flow[None]:
    """Forget a model."""
    yield Request("DELETE", f"/v1/models/{model_id}")


def predict(
    model_id: str, inputs: Sequence[Input], *, top_k: int = 5, batch: int = BATCH, progress: bool | None = None
) -> Flow[list[dict[str, Any]]]:
    """One result per input, in order; an input that cannot be read has an `error` in its result.

    Args:
        model_id: of a ready model.
        inputs: read and sent a batch at a time.
        top_k: scores listed for each input.
        batch: most inputs a request.
        progress: show a bar; by default on a terminal from `BAR_FROM` inputs.
    """
    results: list[dict[str, Any]] = []
    with _bar(len(inputs), progress) as advance:
        for part in _batches(inputs, batch):
            body = {"inputs": [_content(data) for data in part], "top_k": top_k}
            answer = yield Request("POST", f"/v1/models/{model_id}/predictions", json=body)
            results += answer.json()["results"]
            advance(len(part))
    return results


def predict_vectors(
    model_id: str, vectors: NDArray[Any], *, batch: int = VECTOR_BATCH, progress: bool | None = None
) -> Flow[VectorAnswers]:
    """Answers to (n, n_dimensions) numbers, as arrays: `.npy` there and `.npz` back.

    Args:
        model_id: of a ready model of vectors.
        vectors: float32 goes as it is, other numbers become float32.
        batch: most rows a request.
        progress: show a bar; by default on a terminal from `BAR_FROM` rows.
    """
    import numpy as np

    parts: list[VectorAnswers] = []
    headers = {"Content-Type": "application/x-npy", "Accept": "application/x-npz"}
    with _bar(len(vectors), progress) as advance:
        for start in range(0, len(vectors), batch):
            rows = vectors[start : start + batch]
            path = f"/v1/models/{model_id}/predictions"
            answer = yield Request("POST", path, content=_npy(rows), headers=headers)
            with np.load(io.BytesIO(answer.content), allow_pickle=False) as found:
                parts.append(VectorAnswers(**{name: found[name] for name in VectorAnswers.__annotations__}))
            advance(len(rows))
    if not parts:
        raise ValueError("there are no rows to classify")
    return VectorAnswers(
        classes=parts[0].classes,
        probabilities=np.concatenate([part.probabilities for part in parts]),
        rejected=np.concatenate([part.rejected for part in parts]),
        errors=np.concatenate([part.errors for part in parts]),
    )


def classify(
    support: Iterable[tuple[str, Input]],
    inputs: Sequence[Input],
    *,
    meta_model: str | None = None,
    inner_steps: int | None = None,
    inner_lr: float | None = None,
    top_k: int = 5,
) -> Flow[dict[str, Any]]:
    """Adapt and classify in one request; nothing is kept."""
    body = {
        "meta_model": meta_model,
        "support": _support(support),
        "adaptation": {"inner_steps": inner_steps, "inner_lr": inner_lr},
        "inputs": [_content(as_bytes(given)) for given in inputs],
        "top_k": top_k,
    }
    return (yield Request("POST", "/v1/classify", json=body)).json()


def export(model_id: str, format: Literal["onnx", "safetensors"] = "onnx") -> Flow[bytes]:
    """The model as a file that answers as the service does: a self-contained ONNX graph, or its tensors."""
    return (yield Request("POST", f"/v1/models/{model_id}/exports", json={"format": format})).content


def _support(support: Iterable[tuple[str, Input]]) -> list[dict[str, Any]]:
    return [{"label": label, "input": _content(as_bytes(given))} for label, given in support]


def _npy(array: NDArray[Any]) -> bytes:
    import numpy as np

    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array, np.float32), allow_pickle=False)
    return file.getvalue()


def _batches(inputs: Iterable[Input], most: int) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for data in map(as_bytes, inputs):
        if part and (len(part) == most or size + len(data) > BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(data)
        size += len(data)
    if part:
        yield part


@contextmanager
def _bar(total: int, shown: bool | None) -> Iterator[Any]:
    """A rich progress bar on standard error; yields what advances it."""
    if shown is False or (shown is None and total < BAR_FROM):
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if shown is None and not console.is_terminal:
        yield lambda n: None
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("classifying", total=total)
        yield lambda n: bar.advance(task, n)


def _content(data: bytes) -> dict[str, Any]:
    """A file as JSON carries it: a `.npy` file is a vector, every other one an image."""
    if data[:6] == b"\x93NUMPY":
        import numpy as np

        return {"vector": np.load(io.BytesIO(data), allow_pickle=False).tolist()}
    return {"image": base64.b64encode(data).decode()}
