"""Reads a request body, JSON, MessagePack, multipart or zip, into one shape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from fastapi import Request
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData

from adapter.store import WhichVersion
from api import forms
from api.arrays import NPY, load_body
from api.decode import Payload
from api.schemas_requests import (
    AdaptOptions,
    AdaptRequest,
    ClassifyRequest,
    ExportRequest,
    PredictRequest,
    SupportExample,
)
from api.structured import as_problem, plain_media_type, read_structured


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
    if body := await read_structured(request, AdaptRequest):
        return AdaptInput(body, _json_labelled(body.support, "support"))
    async with forms.opened(request) as form:
        options = await forms.options(form, {"meta_model", "name", "ttl_seconds", "adaptation", "webhook"})
        return AdaptInput(options, await forms.labelled(form, "support"))


async def read_labelled(request: Request, schema: type[BaseModel], name: str) -> list[Payload]:
    """A body that is nothing but labelled inputs, in the member or the parts called `name`."""
    if body := await read_structured(request, schema):
        return _json_labelled(getattr(body, name), name)
    async with forms.opened(request) as form:
        forms.check_known(form, set(), labelled=name)
        return await forms.labelled(form, name)


async def read_queries(request: Request) -> QueryBatch:
    """Body of `POST /v1/models/{id}/predictions`."""
    if plain_media_type(request) == NPY:
        rows = load_body(await request.body())
        return QueryBatch(None, rows, PredictRequest.model_fields["top_k"].default)
    if body := await read_structured(request, PredictRequest):
        return _json_queries(body)
    async with forms.opened(request) as form:
        forms.check_known(form, {"inputs", "top_k", "version"})
        return await _form_queries(form)


async def read_classify(request: Request) -> tuple[AdaptInput, QueryBatch]:
    """Body of `POST /v1/classify`."""
    if body := await read_structured(request, ClassifyRequest):
        options = AdaptOptions(meta_model=body.meta_model, adaptation=body.adaptation)
        return AdaptInput(options, _json_labelled(body.support, "support")), _json_queries(body)
    async with forms.opened(request) as form:
        options = await forms.options(form, {"meta_model", "adaptation"}, also={"inputs", "top_k"})
        given = AdaptInput(options, await forms.labelled(form, "support"))
        return given, await _form_queries(form, len(given.support))


async def read_export(request: Request) -> ExportRequest:
    """Body of `POST /v1/models/{id}/exports`."""
    if body := await read_structured(request, ExportRequest):
        return body
    async with forms.opened(request) as form:
        forms.check_known(form, {"format"})
        given = await forms.settings(form, {"format"})
        try:
            return ExportRequest.model_validate_strings(given)
        except ValidationError as error:
            raise as_problem(error) from error


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


async def _form_queries(form: FormData, n_before: int = 0) -> QueryBatch:
    ids, payloads = await forms.queries(form, n_before)
    return QueryBatch(ids, payloads, await forms.top_k(form), await forms.version(form))
