"""Every call once: as a generator that yields requests and gets answers, whoever sends them.

`Client` and `AsyncClient` (clients.py) run the same generators, one blocking, one awaiting.
"""

from __future__ import annotations

import base64
import io
import json
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from innerloop.client.errors import error_of
from innerloop.client.inputs import as_bytes
from innerloop.client.reports import merged

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
        InnerloopHTTPError: refused.
        AdaptationFailed, Canceled: it was accepted, and there will be no model after all.
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
    return (yield from _followed("/v1/models", wait, _model_path, json=body))


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
        InnerloopHTTPError: refused.
        AdaptationFailed, Canceled: it was accepted, and there will be no model after all.
        TimeoutError: not ready after `wait` seconds.
    """
    asked = {"meta_model": meta_model, "name": name, "ttl_seconds": ttl_seconds}
    adaptation = {"inner_steps": inner_steps, "inner_lr": inner_lr}
    data = {**{k: str(v) for k, v in asked.items() if v is not None}, "adaptation": json.dumps(adaptation)}
    files = {"vectors": ("vectors.npy", _npy(vectors)), "labels": ("labels.json", json.dumps(list(labels)).encode())}
    return (yield from _followed("/v1/models", wait, _model_path, data=data, files=files))


def add_examples(
    model_id: str, examples: Iterable[tuple[str, Input]], *, if_match: str | None = None, wait: float = 60
) -> Flow[dict[str, Any]]:
    """Add (label, input) pairs, to old classes or new ones, and wait until the new version is ready.

    Args:
        model_id: of a ready model.
        examples: those that the model has already change nothing.
        if_match: `ETag` of the state that the change is meant for.
        wait: seconds.

    Raises:
        InnerloopHTTPError: refused; `PreconditionFailed` where the model changed meanwhile.
        AdaptationFailed, Canceled: the version was accepted and will not be after all.
        TimeoutError: not ready after `wait` seconds.
    """
    headers = {"If-Match": if_match} if if_match else {}
    path = f"/v1/models/{model_id}"
    body = {"examples": _support(examples)}

    def place(version: dict[str, Any]) -> str:
        return f"{path}/versions/{version['version']}"

    return (yield from _followed(f"{path}/examples", wait, place, headers, json=body))


def cancel(model_id: str) -> Flow[dict[str, Any]]:
    """Stop the newest adaptation while it waits or runs."""
    return (yield Request("POST", f"/v1/models/{model_id}/cancel")).json()


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
    model_id: str,
    inputs: Sequence[Input],
    *,
    top_k: int = 5,
    version: int | Literal["stable", "latest"] | None = None,
    batch: int = BATCH,
    progress: bool | None = None,
) -> Flow[list[dict[str, Any]]]:
    """One result per input, in order; an input that cannot be read has an `error` in its result.

    Args:
        model_id: of a ready model.
        inputs: read and sent a batch at a time.
        top_k: scores listed for each input.
        version: a number, `stable` or `latest`; None: the newest that is ready.
        batch: most inputs a request.
        progress: show a bar; by default on a terminal from `BAR_FROM` inputs.
    """
    results: list[dict[str, Any]] = []
    with _bar("classifying", len(inputs), progress) as advance:
        for part in _batches(inputs, batch):
            body = {"inputs": [_content(data) for data in part], "top_k": top_k, "version": version}
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
    with _bar("classifying", len(vectors), progress) as advance:
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


def evaluate(
    model_id: str,
    queries: Sequence[tuple[str, Input]],
    *,
    version: int | Literal["stable", "latest"] | None = None,
    batch: int = BATCH,
    progress: bool | None = None,
) -> Flow[dict[str, Any]]:
    """The server's report on (label, input) pairs that the model has not seen: accuracy with its 95% interval,
    per class, confusions and calibration. More than `batch` are sent in parts, whose reports are added up.
    """
    reports: list[dict[str, Any]] = []
    starts: list[int] = []
    sent = 0
    params = None if version is None else {"version": version}
    with _bar("evaluating", len(queries), progress) as advance:
        for part in _batches((given for _, given in queries), batch):
            labels = [label for label, _ in queries[sent : sent + len(part)]]
            labelled = zip(labels, part, strict=True)
            body = {"queries": [{"label": label, "input": _content(data)} for label, data in labelled]}
            answer = yield Request("POST", f"/v1/models/{model_id}/evaluations", json=body, params=params)
            reports.append(answer.json())
            starts.append(sent)
            sent += len(part)
            advance(len(part))
    if not reports:
        raise ValueError("there is no query to evaluate")
    return merged(reports, starts)


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


def export(
    model_id: str,
    format: Literal["onnx", "safetensors"] = "onnx",
    *,
    version: int | Literal["stable", "latest"] | None = None,
) -> Flow[bytes]:
    """The model as a file that answers as the service does: a self-contained ONNX graph, or its tensors."""
    params = None if version is None else {"version": version}
    return (yield Request("POST", f"/v1/models/{model_id}/exports", json={"format": format}, params=params)).content


def _followed(
    path: str,
    wait: float,
    place: Callable[[dict[str, Any]], str],
    headers: dict[str, str] | None = None,
    **body: Any,
) -> Flow[dict[str, Any]]:
    """Post under an idempotency key of its own; follow what was accepted, at `place`, until it is ready."""
    sent = {"Idempotency-Key": secrets.token_hex(16), "Prefer": f"wait={wait:g}", **(headers or {})}
    deadline = time.monotonic() + wait
    found = (yield Request("POST", path, headers=sent, seconds=wait + 10, **body)).json()
    where, pause = place(found), 0.1
    while found["status"] in ("queued", "adapting"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{where} is still {found['status']} after {wait:g} s")
        yield Pause(pause)
        pause = min(1.0, 1.5 * pause)
        found = (yield Request("GET", where)).json()
    if found["status"] == "failed":
        raise error_of({"status": 422, **found["error"]})
    if found["status"] != "ready":
        detail = f"adapting {where} was canceled; adapt again to get a model"
        raise error_of({"status": 409, "code": found["status"], "detail": detail, "instance": where})
    return found


def _model_path(accepted: dict[str, Any]) -> str:
    return f"/v1/models/{accepted['id']}"


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
def _bar(doing: str, total: int, shown: bool | None) -> Iterator[Any]:
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
        task = bar.add_task(doing, total=total)
        yield lambda n: bar.advance(task, n)


def _content(data: bytes) -> dict[str, Any]:
    """A file as JSON carries it: a `.npy` file is a vector, every other one an image."""
    if data[:6] == b"\x93NUMPY":
        import numpy as np

        return {"vector": np.load(io.BytesIO(data), allow_pickle=False).tolist()}
    return {"image": base64.b64encode(data).decode()}
