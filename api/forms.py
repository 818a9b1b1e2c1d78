"""Multipart forms: their parts become options and payloads; a part that nobody reads is refused.

A setting is a plain field or a file, as browsers send a Blob of JSON, and stands once; an empty one is none.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import Request
from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from adapter.errors import MalformedRequest, TooLarge, Unprocessable
from adapter.store import WhichVersion
from api import archives
from api.arrays import check_rows, labelled_rows, spread
from api.asking import which_version
from api.decode import Payload
from api.schemas_requests import AdaptationIn, AdaptOptions, PredictRequest, WebhookIn
from api.structured import as_problem, aside

MAX_PARTS = 10_000
"""Files and fields each."""
MAX_FIELD = 2**20
"""Bytes of one part that is no file, or is a setting."""
LARGE_PART = 2**16
"""Bytes of one part that others need not wait for."""

_MANY = ["archive", "vectors", "labels"]
"""Parts with many labelled inputs."""
_NO_TEXTS = {"meta_model", "name", "adaptation", "ttl_seconds", "webhook", "top_k", "version", "format", *_MANY}
"""Parts that are no input when they are plain fields."""

_LABELLED = re.compile(r"(support|examples|queries)\[(.+)\]", re.DOTALL)
_ESCAPED = re.compile("%(22|0D|0A)")
"""In the names of parts (WHATWG HTML, "multipart/form-data encoding algorithm")."""


@asynccontextmanager
async def opened(request: Request) -> AsyncGenerator[FormData]:
    """The multipart form of a request without the parts that nobody filled in, closed afterwards.

    Raises:
        MalformedRequest: a part is damaged, or the end is missing.
        TooLarge: too many parts, or a field too long.
    """
    await _closed(request)
    try:
        form = await request.form(max_files=MAX_PARTS, max_fields=MAX_PARTS, max_part_size=MAX_FIELD)
    except HTTPException as error:
        if "Too many" in error.detail:
            raise _too_many_parts() from error
        if "maximum size" in error.detail:
            raise TooLarge(
                f"a part without a filename, which is a text or a setting, has more than {MAX_FIELD} bytes",
                code="body_too_large",
            ) from error
        raise MalformedRequest(f"the multipart body is damaged: {error.detail}") from error
    try:
        yield FormData([(name, part) for name, part in form.multi_items() if not _is_untouched(name, part)])
    finally:
        await form.close()


def _is_untouched(name: str, part: UploadFile | str) -> bool:
    """Whether it is what browsers send of an element that nobody touched: a file without name and bytes, or an empty
    field, which as an input would be an empty text.
    """
    if isinstance(part, UploadFile):
        return not part.filename and not part.size
    return not part and name in _NO_TEXTS


async def _closed(request: Request) -> None:
    """Refuse a body without its closing boundary, as the parser would pass over what is missing, and one of more
    boundaries than parts may have: from what only begins like one the parser goes on byte by byte.
    """
    _, parameters = parse_options_header(request.headers.get("content-type", ""))
    boundary, body = b"--" + parameters.get(b"boundary", b""), await request.body()
    if boundary == b"--" or boundary + b"--" not in body:
        raise MalformedRequest("the multipart body has no closing boundary; it was cut off or names another one")
    if body.count(boundary) > 2 * MAX_PARTS + 1:
        raise _too_many_parts()


def _too_many_parts() -> TooLarge:
    return TooLarge(f"the form has more than {MAX_PARTS} parts of a kind", code="too_many_parts")


def check_known(form: FormData, names: set[str], *, labelled: str | None = None) -> None:
    """Refuse parts that nobody reads; `labelled` names those that carry a label.

    Raises:
        Unprocessable: there is one, or of one that stands once there are more.
    """
    others = _MANY if labelled else []
    unknown = [n for n in form if n not in names and n not in others and not (labelled and _label(n, labelled))]
    if unknown:
        expected = sorted(names) + ([f"{labelled}[<label>]", *others] if labelled else [])
        raise Unprocessable(
            f"unknown part {unknown[0]!r}; expected {', '.join(expected)}", code="unknown_field", pointer=unknown[0]
        )
    for name in sorted((names | {"vectors", "labels"}) - {"inputs"}):
        if (n := len(form.getlist(name))) > 1:
            raise Unprocessable(f"part {name} stands once, found {n}", code="invalid_request", pointer=name)
    if "labels" in form and "vectors" not in form:
        raise Unprocessable(
            f"part labels comes with part vectors, whose rows it names; other parts are called {labelled}[<label>]",
            code="bad_labels",
            pointer="labels",
        )


def _label(part: str, name: str) -> str | None:
    """The label that a part's name carries, with what whoever sends forms has to escape there, and that alone."""
    match = _LABELLED.fullmatch(part)
    return _ESCAPED.sub(lambda of: chr(int(of[1], 16)), match[2]) if match and match[1] == name else None


async def options(form: FormData, names: set[str], also: set[str] | None = None) -> AdaptOptions:
    """The parts called `names`; those called `also` may stand beside them.

    Raises:
        MalformedRequest, TooLarge, Unprocessable: one is not what it should be.
    """
    check_known(form, names | (also or set()), labelled="support")
    fields = await settings(form, names)
    parsed: dict[str, BaseModel] = {}
    for name, schema in (("adaptation", AdaptationIn), ("webhook", WebhookIn)):
        if given := fields.pop(name, ""):
            try:
                parsed[name] = schema.model_validate_json(given)
            except ValidationError as error:
                raise as_problem(error, f"/{name}") from error
    try:
        return AdaptOptions.model_validate_strings(fields, strict=False).model_copy(update=parsed)
    except ValidationError as error:
        raise as_problem(error) from error


async def labelled(form: FormData, kind: str) -> list[Payload]:
    """Every labelled input of a form: parts called `kind[<label>]`, archives, and vectors with their labels.

    Raises:
        TooLarge: too many, or too much.
        Unprocessable: an archive or an array that cannot be read.
    """
    payloads: list[Payload] = []
    room = archives.MAX_BYTES
    for name, part in form.multi_items():
        if name == "archive":
            files = await aside(True, archives.unzip, await _bytes(name, part), room)
            room -= sum(len(file.content) for file in files)
            payloads += files
        elif label := _label(name, kind):
            file_name = part.filename if isinstance(part, UploadFile) else ""
            payloads += await _given(part, f"{name} {file_name}".strip(), len(payloads), label)
        elif name == "vectors":
            vectors, labels = await _bytes(name, part), await _text(form, "labels")
            payloads += await aside(
                len(vectors) + len(labels) > LARGE_PART, labelled_rows, vectors, labels, len(payloads)
            )
        check_rows(len(payloads), name)
    return payloads


async def queries(form: FormData, n_before: int = 0) -> tuple[list[str | None], list[Payload]]:
    """The parts called `inputs` and their names, of a form with `n_before` inputs of another kind.

    Raises:
        TooLarge: too many of them.
    """
    ids: list[str | None] = []
    payloads: list[Payload] = []
    for i, part in enumerate(form.getlist("inputs")):
        rows = await _given(part, f"inputs[{i}]", n_before + len(payloads))
        payloads += rows
        check_rows(n_before + len(payloads), f"inputs[{i}]")
        ids += [part.filename if isinstance(part, UploadFile) else None] * len(rows)
    return ids, payloads


async def top_k(form: FormData) -> int:
    """How many scores are listed.

    Raises:
        MalformedRequest, TooLarge, Unprocessable: not a whole number from 1.
    """
    given = (await settings(form, {"top_k"})).get("top_k")
    if given is None:
        return PredictRequest.model_fields["top_k"].default
    if not re.fullmatch("[1-9][0-9]{0,15}", given):
        raise Unprocessable(
            f"top_k must be a whole number from 1, not {given[:40]!r}", code="invalid_request", pointer="top_k"
        )
    return int(given)


async def version(form: FormData) -> WhichVersion:
    """The version that is asked.

    Raises:
        MalformedRequest, TooLarge, Unprocessable: it names none.
    """
    return which_version((await settings(form, {"version"})).get("version"))


async def settings(form: FormData, names: set[str]) -> dict[str, str]:
    """Those of the parts called `names` that there are, as text.

    Raises:
        MalformedRequest: a file that is no text.
        TooLarge: a file that is longer than a field may be.
    """
    return {name: _decoded(name, await _text(form, name)) for name in names if name in form}


def _decoded(name: str, given: bytes | str) -> str:
    if len(given) > MAX_FIELD:
        raise TooLarge(f"part {name!r} has more than {MAX_FIELD} bytes", code="body_too_large", pointer=name)
    try:
        return given if isinstance(given, str) else given.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"part {name!r} is not UTF-8", pointer=name) from error


async def _given(part: UploadFile | str, pointer: str, n_before: int, label: str | None = None) -> list[Payload]:
    """A file, which may hold many inputs, or a plain field, which is a text."""
    if not isinstance(part, UploadFile):
        return [Payload(part, pointer, label, "text")]
    content = await part.read()
    return await aside(len(content) > LARGE_PART, spread, Payload(content, pointer, label), n_before)


async def _text(form: FormData, name: str) -> bytes | str:
    part = form.get(name) or ""
    return await part.read() if isinstance(part, UploadFile) else part


async def _bytes(name: str, part: UploadFile | str) -> bytes:
    if not isinstance(part, UploadFile):
        raise Unprocessable(f"part {name!r} must be a file (give it a filename)", code="not_a_file", pointer=name)
    return await part.read()
