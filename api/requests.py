"""Reads a request body, JSON, MessagePack, multipart or zip, into one shape."""

from __future__ import annotations

import asyncio
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import PurePosixPath
from typing import Any, ParamSpec, TypeVar

from fastapi import Request
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from adapter.errors import ErrorItem, MalformedRequest, TooLarge, Unprocessable, UnsupportedMediaType
from adapter.store import WhichVersion
from api import packed
from api.arrays import NPY, check_rows, labelled_rows, load_body, spread
from api.asking import which_version
from api.decode import Payload
from api.schemas_requests import (
    MAX_COLLECTIONS,
    AdaptationIn,
    AdaptOptions,
    AdaptRequest,
    ClassifyRequest,
    ExportRequest,
    PredictRequest,
    SupportExample,
    WebhookIn,
)
from meta_models.inputs.vector import MAX_DIMENSIONS

MAX_PARTS = 10_000
"""Of a form, files and fields each, and files of an archive."""
MAX_FIELD = 2**20
"""Bytes of one part that is no file."""
MAX_ZIP_RATIO = 200
MAX_ZIP_BYTES = 256 * 2**20
"""Of all archives of a form, unpacked."""
LARGE = 2**20
"""Bytes of a body that others need not wait for."""
LARGE_PART = 2**16
"""Likewise of one of the many parts of a form."""
MAX_FINDINGS = 10_000
"""Members and values that do not belong: a body with more has them counted, not listed."""
SHOWN = 100
"""Of them, in an answer."""

_LABELLED = re.compile(r"(support|examples|queries)\[(.+)\]", re.DOTALL)

Body = TypeVar("Body", bound=BaseModel)
Found = TypeVar("Found")
P = ParamSpec("P")


@dataclass(frozen=True)
class AdaptInput:
    """A support set as it arrived."""

    options: AdaptOptions
    support: list[Payload]

    @property
    def labels(self) -> list[str]:
        return [p.label or "" for p in self.support]


@dataclass(frozen=True)
class QueryBatch:
    """Queries as they arrived.

    Attributes:
        ids: the client's own or None; None where no input has one.
        payloads: one a query, or a whole array, (n, …), of them.
        top_k: scores listed for each.
    """

    ids: Sequence[str | None] | None
    payloads: list[Payload] | NDArray[Any]
    top_k: int
    version: WhichVersion = None

    def __len__(self) -> int:
        return len(self.payloads)

    @property
    def each_id(self) -> Iterable[str | None]:
        """(n,) as `ids`."""
        return repeat(None, len(self)) if self.ids is None else self.ids


async def read_adapt(request: Request) -> AdaptInput:
    """Body of `POST /v1/models`."""
    if body := await _structured(request, AdaptRequest):
        return AdaptInput(body, _json_labelled(body.support, "support"))
    async with _form(request) as form:
        options = _options(form, {"meta_model", "name", "ttl_seconds", "adaptation", "webhook"})
        return AdaptInput(options, await _form_labelled(form, "support"))


async def read_labelled(request: Request, schema: type[BaseModel], name: str) -> list[Payload]:
    """A body that is nothing but labelled inputs, in the member or the parts called `name`."""
    if body := await _structured(request, schema):
        return _json_labelled(getattr(body, name), name)
    async with _form(request) as form:
        _known(form, set(), labelled=name)
        return await _form_labelled(form, name)


async def read_queries(request: Request) -> QueryBatch:
    """Body of `POST /v1/models/{id}/predictions`."""
    if _plain_media_type(request) == NPY:
        rows = load_body(await request.body())
        return QueryBatch(None, rows, PredictRequest.model_fields["top_k"].default)
    if body := await _structured(request, PredictRequest):
        return _json_queries(body)
    async with _form(request) as form:
        _known(form, {"inputs", "top_k", "version"})
        return await _form_queries(form)


async def read_classify(request: Request) -> tuple[AdaptInput, QueryBatch]:
    """Body of `POST /v1/classify`."""
    if body := await _structured(request, ClassifyRequest):
        options = AdaptOptions(meta_model=body.meta_model, adaptation=body.adaptation)
        return AdaptInput(options, _json_labelled(body.support, "support")), _json_queries(body)
    async with _form(request) as form:
        options = _options(form, {"meta_model", "adaptation"}, also={"inputs", "top_k"})
        given = AdaptInput(options, await _form_labelled(form, "support"))
        return given, await _form_queries(form, len(given.support))


async def read_export(request: Request) -> ExportRequest:
    """Body of `POST /v1/models/{id}/exports`."""
    if body := await _structured(request, ExportRequest):
        return body
    async with _form(request) as form:
        _known(form, {"format"})
        try:
            return ExportRequest.model_validate_strings({name: str(value) for name, value in form.items()})
        except ValidationError as error:
            raise _as_problem(error) from error


async def read_json(request: Request, schema: type[Body]) -> Body:
    """A body that is JSON and nothing else."""
    media_type = _plain_media_type(request)
    if media_type not in ("application/json", "application/merge-patch+json"):
        raise UnsupportedMediaType(f"send application/json, not {media_type or 'a body without Content-Type'}")
    return await _json(request, schema)


def _plain_media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _structured(request: Request, schema: type[Body]) -> Body | None:
    """A JSON or MessagePack body; None for a multipart form.

    Raises:
        UnsupportedMediaType: another one.
        MalformedRequest, Unprocessable: not what its media type says, or not of the schema.
    """
    media_type = _plain_media_type(request)
    if media_type == "multipart/form-data":
        return None
    if media_type == "application/json":
        return await _json(request, schema)
    if media_type in packed.MEDIA_TYPES:
        data = await request.body()
        return await _aside(len(data) > LARGE, _validated, lambda: schema.model_validate(packed.unpack(data)))
    raise UnsupportedMediaType(
        "send application/json, application/msgpack or multipart/form-data, "
        f"not {media_type or 'a body without Content-Type'}"
    )


async def _json(request: Request, schema: type[Body]) -> Body:
    data = await request.body()
    if data.count(b"[") + data.count(b"{") > MAX_COLLECTIONS:
        raise TooLarge(f"the body has more than {MAX_COLLECTIONS} arrays and objects", code="body_too_large")
    return await _aside(len(data) > LARGE, _validated, lambda: schema.model_validate_json(data))


def _validated(validate: Callable[[], Body]) -> Body:
    try:
        return validate()
    except ValidationError as error:
        raise _as_problem(error) from error


async def _aside(large: bool, work: Callable[P, Found], *args: P.args, **more: P.kwargs) -> Found:
    """What `work` gives, from a thread where it is much."""
    return await asyncio.to_thread(work, *args, **more) if large else work(*args, **more)


def _as_problem(error: ValidationError, prefix: str = "") -> MalformedRequest | TooLarge | Unprocessable:
    n = error.error_count()
    if n > MAX_FINDINGS:
        return Unprocessable(
            f"the body has {n} members or values that do not belong; see /docs", code="invalid_request"
        )
    findings = error.errors(include_url=False, include_input=False, include_context=False)
    first = findings[0]
    where = prefix + _pointer(first["loc"]) or "the body"
    if first["type"] == "json_invalid":
        return MalformedRequest(f"{where} is not JSON: {first['msg']}", code="invalid_json")
    if first["type"] == "too_long" and first["loc"][-1] == "vector":
        return TooLarge(f"{where}: a vector has 1 to {MAX_DIMENSIONS} dimensions", code="vector_too_large")
    if first["type"] == "too_long":
        return TooLarge(f"{where}: {first['msg']}", code="body_too_large")
    errors: list[ErrorItem] = [
        {"pointer": prefix + _pointer(f["loc"]), "code": "invalid_field", "detail": _in_words(f)}
        for f in findings[:SHOWN]
    ]
    others = f", and {n - 1} more" if n > 1 else ""
    return Unprocessable(f"{where}: {_in_words(first)}{others}", code="invalid_request", errors=errors)


def _in_words(finding: ErrorDetails) -> str:
    """What pydantic says, with the shape that was meant where a labelled input was taken for another one."""
    *_, member = ("", *finding["loc"])
    if (finding["type"], member) == ("missing", "input"):
        return 'Field required; a labelled input is {"label": …, "input": {"image": …}}'
    if (finding["type"], member) == ("extra_forbidden", "input"):
        return 'an input without a label stands by itself: {"image": …}, not {"input": {"image": …}}'
    return finding["msg"].removeprefix("Value error, ")


def _pointer(location: Sequence[int | str]) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def _json_labelled(examples: Sequence[SupportExample], name: str) -> list[Payload]:
    return [
        Payload(content, f"/{name}/{i}/input/{modality}", example.label, modality)
        for i, example in enumerate(examples)
        for modality, content in [example.input.given]
    ]


def _json_queries(body: PredictRequest | ClassifyRequest) -> QueryBatch:
    payloads = [
        Payload(content, f"/inputs/{i}/{modality}", modality=modality)
        for i, query in enumerate(body.inputs)
        for modality, content in [query.given]
    ]
    version = body.version if isinstance(body, PredictRequest) else None
    return QueryBatch([query.id for query in body.inputs], payloads, body.top_k, version)


class _form:  # noqa: N801 - used as a function
    """The multipart form of a request, closed afterwards."""

    def __init__(self, request: Request) -> None:
        self._request = request

    async def __aenter__(self) -> FormData:
        await _closed(self._request)
        try:
            self._form = await self._request.form(max_files=MAX_PARTS, max_fields=MAX_PARTS, max_part_size=MAX_FIELD)
            return self._form
        except HTTPException as error:
            if "Too many" in error.detail:
                raise TooLarge(f"the form has more than {MAX_PARTS} parts of a kind", code="too_many_parts") from error
            if "maximum size" in error.detail:
                raise TooLarge(
                    f"a part without a filename, which is a text or a setting, has more than {MAX_FIELD} bytes",
                    code="body_too_large",
                ) from error
            raise MalformedRequest(f"the multipart body is damaged: {error.detail}") from error

    async def __aexit__(self, *details: object) -> None:
        await self._form.close()


async def _closed(request: Request) -> None:
    """Refuse a body without its closing boundary: the parser would pass over what is missing."""
    _, parameters = parse_options_header(request.headers.get("content-type", ""))
    boundary = parameters.get(b"boundary", b"")
    if not boundary or b"--" + boundary + b"--" not in await request.body():
        raise MalformedRequest("the multipart body has no closing boundary; it was cut off or names another one")


def _known(form: FormData, names: set[str], *, labelled: str | None = None) -> None:
    """Refuse parts that nobody reads; `labelled` names those that carry a label."""
    others = ["archive", "vectors", "labels"] if labelled else []
    unknown = [n for n in form if n not in names and n not in others and not (labelled and _label(n, labelled))]
    if unknown:
        expected = sorted(names) + ([f"{labelled}[<label>]", *others] if labelled else [])
        raise Unprocessable(
            f"unknown part {unknown[0]!r}; expected {', '.join(expected)}", code="unknown_field", pointer=unknown[0]
        )


def _label(part: str, name: str) -> str | None:
    match = _LABELLED.fullmatch(part)
    return match[2] if match and match[1] == name else None


def _options(form: FormData, names: set[str], also: set[str] = frozenset()) -> AdaptOptions:  # pyright: ignore[reportArgumentType]
    _known(form, names | also, labelled="support")
    fields = {name: str(form[name]) for name in names if name in form}
    parsed: dict[str, BaseModel] = {}
    for name, schema in (("adaptation", AdaptationIn), ("webhook", WebhookIn)):
        if given := fields.pop(name, ""):
            try:
                parsed[name] = schema.model_validate_json(given)
            except ValidationError as error:
                raise _as_problem(error, f"/{name}") from error
    try:
        return AdaptOptions.model_validate_strings(fields, strict=False).model_copy(update=parsed)
    except ValidationError as error:
        raise _as_problem(error) from error


async def _form_labelled(form: FormData, labelled: str) -> list[Payload]:
    if len(form.getlist("vectors")) > 1:
        raise Unprocessable(
            "part vectors stands once, labels names its rows; send one array", code="bad_labels", pointer="vectors"
        )
    payloads: list[Payload] = []
    room = MAX_ZIP_BYTES
    for name, part in form.multi_items():
        if name == "archive":
            files = await asyncio.to_thread(_unzip, await _bytes(name, part), room)
            room -= sum(len(file.content) for file in files)
            payloads += files
        elif label := _label(name, labelled):
            file_name = part.filename if isinstance(part, UploadFile) else ""
            payloads += await _given(part, f"{name} {file_name}".strip(), len(payloads), label)
        elif name == "vectors":
            vectors, labels = await _bytes(name, part), await _text(form, "labels")
            payloads += await _aside(
                len(vectors) + len(labels) > LARGE_PART, labelled_rows, vectors, labels, len(payloads)
            )
        check_rows(len(payloads), name)
    return payloads


async def _form_queries(form: FormData, n_before: int = 0) -> QueryBatch:
    ids: list[str | None] = []
    payloads: list[Payload] = []
    for i, part in enumerate(form.getlist("inputs")):
        rows = await _given(part, f"inputs[{i}]", n_before + len(payloads))
        payloads += rows
        check_rows(n_before + len(payloads), f"inputs[{i}]")
        ids += [part.filename if isinstance(part, UploadFile) else None] * len(rows)
    top_k = str(form.get("top_k", "5"))
    if not re.fullmatch("[1-9][0-9]{0,15}", top_k):
        raise Unprocessable(
            f"top_k must be a whole number from 1, not {top_k[:40]!r}", code="invalid_request", pointer="top_k"
        )
    return QueryBatch(ids, payloads, int(top_k), _form_version(form))


def _form_version(form: FormData) -> WhichVersion:
    return which_version(str(form["version"]) if "version" in form else None)


async def _given(part: UploadFile | str, pointer: str, n_before: int, label: str | None = None) -> list[Payload]:
    """A file, which may hold many inputs, or a plain field, which is a text."""
    if not isinstance(part, UploadFile):
        return [Payload(part, pointer, label, "text")]
    content = await part.read()
    return await _aside(len(content) > LARGE_PART, spread, Payload(content, pointer, label), n_before)


async def _text(form: FormData, name: str) -> bytes | str:
    part = form.get(name) or ""
    return await part.read() if isinstance(part, UploadFile) else part


async def _bytes(name: str, part: UploadFile | str) -> bytes:
    if not isinstance(part, UploadFile):
        raise Unprocessable(f"part {name!r} must be a file (give it a filename)", code="not_a_file", pointer=name)
    return await part.read()


def _unzip(data: bytes, room: int = MAX_ZIP_BYTES) -> list[Payload]:
    """A folder per class, at most `room` bytes of files; what systems add by themselves is passed over."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except Exception as error:  # zipfile raises what it meets: struct, Unicode and notice of newer versions
        raise _undecodable(f"archive is not a zip file: {error}") from error
    entries = [e for e in archive.infolist() if not e.is_dir() and not _is_clutter(e.filename)]
    if len(entries) > MAX_PARTS:
        raise TooLarge(f"archive has {len(entries)} files, at most {MAX_PARTS}", code="archive_too_large")
    total = sum(e.file_size for e in entries)
    if total > room or total > MAX_ZIP_RATIO * max(len(data), 1):
        raise TooLarge(f"archive unpacks to {total} bytes, more than allowed", code="archive_too_large")
    payloads: list[Payload] = []
    where: dict[PurePosixPath, str] = {}
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if len(path.parts) < 2:
            raise Unprocessable(
                f"archive: {entry.filename!r} is in no class folder", code="no_class_folder", pointer="archive"
            )
        where.setdefault(path.parent.parent, entry.filename)
        if entry.flag_bits & 1:
            raise _undecodable(f"archive: {entry.filename!r} is encrypted; zip it again without a password")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _undecodable(f"archive: {entry.filename!r} is compressed otherwise than by deflate; zip it again so")
        try:
            content = archive.read(entry)
        except Exception as error:  # likewise
            raise _undecodable(f"archive: {entry.filename!r}: {error or type(error).__name__}") from error
        payloads.append(Payload(content, f"archive/{entry.filename}", path.parent.name))
    if len(where) > 1:
        one, other, *_ = where.values()
        raise Unprocessable(
            f"archive: the class folders of {one!r} and {other!r} do not stand side by side; zip one folder that holds "
            "a folder per class, and the files of a class in it, not deeper",
            code="no_class_folder",
            pointer="archive",
        )
    return payloads


def _undecodable(detail: str) -> Unprocessable:
    return Unprocessable(detail, code="undecodable_archive", pointer="archive")


def _is_clutter(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return (
        not parts
        or any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts)
        or parts[-1].lower()
        in {
            "thumbs.db",
            "desktop.ini",
        }
    )
