"""Every call once: as a generator that yields requests and gets answers, whoever sends them.

`Client` and `AsyncClient` (clients.py) run the same generators, one blocking, one awaiting.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sized
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from innerloop.client.inputs import contents, is_npy, is_sound, label_text, listed_inputs, names_file, plain
from innerloop.client.npy_file import NoVectorError, numbers_of
from innerloop.client.reports import merged
from innerloop.client.steps import (
    Flow,
    ModelState,
    Request,
    bar,
    batches,
    followed,
    matching,
    model_path,
    of_version,
    once,
    pages,
    path_of,
    segment,
    version_path,
)
from innerloop.client.text_file import is_text, text_of

if TYPE_CHECKING:
    from innerloop.client.inputs import Input, Inputs, Label

BATCH = 200
"""Most inputs of one request."""


def meta_models() -> Flow[list[dict[str, Any]]]:
    """Every published meta-model, with limits and measured accuracy."""
    return (yield Request("GET", "/v1/meta-models")).json()["data"]


def limits() -> Flow[dict[str, Any]]:
    """Every cap of the server."""
    return (yield Request("GET", "/v1/limits")).json()


def adapt(
    support: Iterable[tuple[Label, Input]],
    *,
    meta_model: str | None = None,
    name: str | None = None,
    inner_steps: int | None = None,
    inner_lr: float | None = None,
    ttl_seconds: int | None = None,
    webhook: dict[str, str] | None = None,
    wait: float | None = 60,
) -> Flow[ModelState]:
    """Adapt to (label, input) pairs and wait until the model is ready, `wait` seconds; None: not at all, the model that
    was accepted may be `queued` or `adapting`.

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
        "adaptation": {"inner_steps": plain(inner_steps), "inner_lr": plain(inner_lr)},
        "ttl_seconds": plain(ttl_seconds),
        "webhook": webhook,
    }
    return (yield from followed(Request("POST", "/v1/models", json=body, headers=once()), wait, model_path))


def add_examples(
    model_id: str, examples: Iterable[tuple[Label, Input]], *, if_match: str | None = None, wait: float | None = 60
) -> Flow[ModelState]:
    """Add (label, input) pairs, to old classes or new ones, and wait until the new version is ready.

    Args:
        model_id: of a ready model.
        examples: those that the model has already change nothing.
        if_match: `etag` of the state that the change is meant for.
        wait: seconds; None: not at all, the version that was accepted may be `queued` or `adapting`.

    Raises:
        InnerloopHTTPError: refused; `PreconditionFailed` where the model is not in the state of `if_match` any more.
        AdaptationFailed, Canceled: the version was accepted and will not be after all.
        TimeoutError: not ready after `wait` seconds.
    """
    headers = {**once(), **matching(if_match)}
    body = {"examples": _support(examples)}
    request = Request("POST", f"{path_of(model_id)}/examples", json=body, headers=headers)
    return (yield from followed(request, wait, partial(version_path, model_id)))


def examples(model_id: str, *, version: int | Literal["stable", "latest"] | None = None) -> Flow[list[dict[str, Any]]]:
    """The support set of a version, all pages: `id`, `label` and where each came from."""
    return (yield from pages(f"{path_of(model_id)}/examples", {"limit": 1000, **of_version(version)}))


def preview(model_id: str, example: str, *, version: int | Literal["stable", "latest"] | None = None) -> Flow[bytes]:
    """What the meta-model sees of an example, given by its `id`: a PNG file, of a text its tokens in words."""
    path = f"{path_of(model_id)}/examples/{segment(example)}/preview"
    return (yield Request("GET", path, params=of_version(version))).content


def predict(
    model_id: str,
    inputs: Inputs,
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
        version: a number, `stable` or `latest`; None: the newest that is ready. One version gives all answers.
        batch: most inputs a request.
        progress: show a bar; by default on a terminal from `BAR_FROM` inputs.
    """
    given = listed_inputs(inputs)
    results: list[dict[str, Any]] = []
    with bar("classifying", len(given), progress) as advance:
        for part in batches(given, batch):
            asked, broken = _asked(part)
            answers: list[dict[str, Any]] = []
            if asked:
                body = {"inputs": asked, "top_k": plain(top_k), "version": plain(version)}
                answer = (yield Request("POST", f"{path_of(model_id)}/predictions", json=body)).json()
                answers, version = answer["results"], answer.get("version", version)
            for place, result in broken.items():
                answers.insert(place, result)
            results += answers
            advance(len(part))
    return results


def evaluate(
    model_id: str,
    queries: Iterable[tuple[Label, Input]],
    *,
    version: int | Literal["stable", "latest"] | None = None,
    batch: int = BATCH,
    progress: bool | None = None,
) -> Flow[dict[str, Any]]:
    """The server's report on (label, input) pairs that the model has not seen: accuracy with its 95% interval,
    per class, confusions and calibration. More than `batch` are sent in parts, whose reports, all of one version, are
    added up.
    """
    names, inputs = _labelled(queries)
    reports: list[dict[str, Any]] = []
    starts: list[int] = []
    sent = 0
    with bar("evaluating", len(inputs), progress) as advance:
        for part in batches(inputs, batch):
            labelled = zip(names[sent : sent + len(part)], _contents(part, first=sent), strict=True)
            body = {"queries": [{"label": label, "input": content} for label, content in labelled]}
            answer = yield Request("POST", f"{path_of(model_id)}/evaluations", json=body, params=of_version(version))
            reports.append(report := answer.json())
            version = report.get("version", version)
            starts.append(sent)
            sent += len(part)
            advance(len(part))
    if not reports:
        raise ValueError("there is no query to evaluate")
    return merged(reports, starts)


def classify(
    support: Iterable[tuple[Label, Input]],
    inputs: Inputs,
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
        "adaptation": {"inner_steps": plain(inner_steps), "inner_lr": plain(inner_lr)},
        "inputs": _contents(contents(listed_inputs(inputs))),
        "top_k": plain(top_k),
    }
    return (yield Request("POST", "/v1/classify", json=body)).json()


def export(
    model_id: str,
    format: Literal["onnx", "safetensors"] = "onnx",
    *,
    version: int | Literal["stable", "latest"] | None = None,
) -> Flow[bytes]:
    """The model as a file that answers as the service does: a self-contained ONNX graph, or its tensors."""
    path = f"{path_of(model_id)}/exports"
    return (yield Request("POST", path, json={"format": format}, params=of_version(version))).content


def _support(support: Iterable[tuple[Label, Input]]) -> list[dict[str, Any]]:
    labels, inputs = _labelled(support)
    read = _contents(contents(inputs, "example"), "example")
    return [{"label": label, "input": content} for label, content in zip(labels, read, strict=True)]


def _labelled(given: Iterable[tuple[Label, Input]]) -> tuple[list[str], list[Input]]:
    """Labels and inputs of pairs.

    Raises:
        TypeError: they are no pairs, or a label is neither a text nor a number.
        ValueError: they are the wrong way round.
    """
    if isinstance(given, Mapping | str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"labelled inputs come as pairs (label, input), found one {type(given).__name__}")
    pairs: list[Any] = list(given)
    for i, pair in enumerate(pairs):
        if isinstance(pair, Mapping | str | bytes) or not isinstance(pair, Sized) or len(pair) != 2:
            raise TypeError(f"labelled inputs come as pairs (label, input), number {i} is {pair!r:.60}")
    if pairs and all(names_file(label) and not names_file(data) for label, data in pairs):
        raise ValueError(f"labelled inputs are (label, input), in this order; {pairs[0][0]!r} is a file")
    return [label_text(label, f"input {i}") for i, (label, _) in enumerate(pairs)], [data for _, data in pairs]


def _asked(inputs: Iterable[bytes | str]) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:
    """Inputs as JSON carries them, and for each that it cannot carry its result, by its place."""
    asked: list[dict[str, Any]] = []
    broken: dict[int, dict[str, Any]] = {}
    for i, data in enumerate(inputs):
        try:
            asked.append(_content(data))
        except NoVectorError as error:
            broken[i] = error.result
    return asked, broken


def _contents(inputs: Iterable[bytes | str], what: str = "input", first: int = 0) -> list[dict[str, Any]]:
    """Inputs as JSON carries them.

    Raises:
        ValueError: it cannot carry one; says which, counted from `first`.
    """
    found: list[dict[str, Any]] = []
    for i, data in enumerate(inputs, first):
        try:
            found.append(_content(data))
        except NoVectorError as error:
            raise ValueError(f"{what} {i}: {error}") from error
    return found


def _content(data: bytes | str) -> dict[str, Any]:
    """An input as JSON carries it; a file is what its first bytes say, and what they do not say is an image.

    Raises:
        NoVectorError: a `.npy` file without a vector.
    """
    if isinstance(data, str):
        return {"text": data}
    if is_npy(data):
        return {"vector": numbers_of(data)}
    if is_text(data):
        return {"text": text_of(data)}
    return {"audio" if is_sound(data) else "image": base64.b64encode(data).decode()}
