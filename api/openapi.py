"""Describes bodies that FastAPI cannot see, because `requests` reads three formats into one shape."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.answers import ANSWERS
from api.arrays import NPY, NPZ
from api.asking import VERSION
from api.schemas import Problem
from api.schemas_evaluation import EvaluateRequest
from api.schemas_growth import ClassPatch, ExamplesRequest, Version
from api.schemas_requests import AdaptRequest, ClassifyRequest, ExportRequest, ModelPatch, PredictRequest

_BODIES: list[type[BaseModel]] = [
    AdaptRequest,
    PredictRequest,
    ClassifyRequest,
    ModelPatch,
    ExportRequest,
    ExamplesRequest,
    ClassPatch,
    EvaluateRequest,
    Problem,
]
_REF = "#/components/schemas/{model}"

_PATTERNS = "patternProperties"
# Pages that show the document offer to choose files for these items alone, and send what an example has, untouched.
_FILES: dict[str, Any] = {"type": "array", "items": {"type": "string", "format": "binary"}, "examples": [[]]}
_TEXTS = "plain fields with a text each; a page that offers nothing but files here sends texts as JSON."
_FILES_OR_TEXTS = {**_FILES, "description": f"Files, or {_TEXTS}"}
_A_PART_EACH = {"style": "form", "explode": True}
"""Of a part that may stand often; else such pages join all its texts to one."""


def _labelled_example(name: str) -> dict[str, Any]:
    """Labelled files as a form's parts: what a page that shows the document names them."""
    return {f"{name}[ka]": ["@ka-1.png", "@ka-2.png"], f"{name}[na]": ["@na-1.png", "@na-2.png"]}


def _labelled_parts(name: str) -> dict[str, Any]:
    """Multipart parts that carry a label."""
    files = {
        **_FILES,
        "description": "Examples of the class in brackets: images, sounds, `.npy` files with a vector or a row for "
        f"each, or {_TEXTS} `%22`, `%0D` and `%0A` in a label are a quotation mark and the ends "
        "of a line, as browsers and curl send them; a label with just these characters comes as JSON, or in `labels`.",
    }
    return {
        # The name of such a part is a pattern, which pages that show the document leave out.
        **dict.fromkeys(_labelled_example(name), files),
        _PATTERNS: {rf"^{name}\[.+\]$": files},
        "vectors": {
            "type": "string",
            "format": "binary",
            "contentMediaType": NPY,
            "description": f"Vectors of all {name}, a row each, with `labels`.",
        },
        "labels": {"type": "string", "contentMediaType": "application/json", "description": "A JSON list of labels."},
        "archive": {
            "type": "string",
            "format": "binary",
            "contentMediaType": "application/zip",
            "description": f"A zip, stored or deflated, with a folder per class, instead of or beside {name} parts.",
        },
    }


# Pages that show the document fill in these examples, and send them: nothing that changes the answer.
_SUPPORT_PARTS: dict[str, Any] = {
    "meta_model": {"type": "string", "examples": [""]},
    "adaptation": {"$ref": _REF.format(model="AdaptationIn")},
    **_labelled_parts("support"),
}
_QUERY_PARTS: dict[str, Any] = {"inputs": _FILES_OR_TEXTS, "top_k": {"type": "integer", "minimum": 1, "default": 5}}


_QUERIES: dict[str, Any] = {"inputs": ["@unknown-1.png", "@unknown-2.png"], "top_k": 3}


def body(model: type[BaseModel], parts: dict[str, Any], form: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of a route that takes `model` as JSON or MessagePack, or as multipart `parts`, such as `form`."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}},
                "application/msgpack": {"schema": _packed(model)},
                "multipart/form-data": {"schema": _form(parts), "encoding": _encoding(parts), "example": form},
            },
        }
    }


def _packed(model: type[BaseModel]) -> dict[str, Any]:
    """A file to pages that show the document, which would send the JSON of an example under this type."""
    return {
        "type": "string",
        "format": "binary",
        "contentMediaType": "application/msgpack",
        "contentSchema": {"$ref": _REF.format(model=model.__name__)},
        "description": f"{model.__name__} as MessagePack, with bytes in place of base64.",
    }


def _form(parts: dict[str, Any]) -> dict[str, Any]:
    named = {name: part for name, part in parts.items() if name != _PATTERNS}
    patterns = {_PATTERNS: parts[_PATTERNS]} if _PATTERNS in parts else {}
    return {"type": "object", "properties": named, **patterns, "additionalProperties": False}


def _encoding(parts: dict[str, Any]) -> dict[str, Any]:
    return {name: _A_PART_EACH for name, part in parts.items() if part.get("type") == "array"}


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a route that takes `model` as JSON only."""
    content = {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}
    return {"requestBody": {"required": True, "content": content}}


ADAPT_BODY = body(
    AdaptRequest,
    {
        **_SUPPORT_PARTS,
        "name": {"type": "string", "examples": ["letters"]},
        "ttl_seconds": {"type": "integer", "minimum": 60, "examples": [604_800]},
        "webhook": {
            "anyOf": [{"const": ""}, {"$ref": _REF.format(model="WebhookIn")}],
            "description": 'As JSON, `{"url": "https://…"}`; empty: nobody is told.',
        },
    },
    {"name": "letters", **_labelled_example("support")},
)
PREDICT_BODY = body(
    PredictRequest,
    {**_QUERY_PARTS, "version": {"type": "string", "pattern": f"^({VERSION})$", "examples": ["latest"]}},
    _QUERIES,
)
PREDICT_BODY["requestBody"]["content"][NPY] = {
    "schema": {
        "type": "string",
        "format": "binary",
        "contentMediaType": NPY,
        "description": "Vectors, a row each, in one `.npy` file.",
    }
}
CLASSIFY_BODY = body(ClassifyRequest, {**_SUPPORT_PARTS, **_QUERY_PARTS}, {**_labelled_example("support"), **_QUERIES})
EXPORT_BODY = body(ExportRequest, {"format": {"type": "string", "enum": ["onnx", "safetensors"]}}, {"format": "onnx"})
EVALUATE_BODY = body(EvaluateRequest, _labelled_parts("queries"), _labelled_example("queries"))
EXAMPLES_BODY = body(ExamplesRequest, _labelled_parts("examples"), _labelled_example("examples"))

NPZ_ANSWER: dict[str, Any] = {
    "description": "Results in order; as arrays where `Accept` prefers `application/x-npz`: `probabilities` (n, n_way) "
    "with columns as `classes`, sorted by name, `rejected` (n,), and `errors` (n,), empty text where there is none.",
    "content": {NPZ: {"schema": {"type": "string", "format": "binary"}}},
    "headers": {"Innerloop-Version": {"schema": {"type": "integer"}, "description": "Which version gave the arrays."}},
}

RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
ETAG = {"ETag": {"schema": {"type": "string"}, "description": "State of the model, for `If-Match`."}}
LOCATION = {"Location": {"schema": {"type": "string"}, "description": "Path of the model."}}
REPLAYED = {
    "Idempotent-Replayed": {
        "schema": {"type": "string", "const": "true"},
        "description": "Where nothing new was made: an answer to a duplicate.",
    }
}


def version_answers(done: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that makes a version: ready, or on its way."""
    headers = {**LOCATION, **ETAG, **REPLAYED}
    later = "Accepted; follow `Location` after `Retry-After` seconds"
    return {
        done: {"description": "Ready", "headers": headers},
        202: {"model": Version, "description": later, "headers": {**headers, **RETRY_AFTER}},
    }


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route for the errors it can give, besides those that every route can."""
    content = {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}}
    return {
        status: {
            "description": _MEANING[status],
            "content": content,
            **({"headers": RETRY_AFTER} if status in (409, 429, 503) else {}),
        }
        for status in sorted({*statuses, 401, 403, 422, 429, 503})
    }


_MEANING = {
    400: "Malformed",
    401: "No or wrong API key",
    403: "Not this key's scope",
    404: "Absent, or another owner's",
    408: "The body took too long",
    409: "Not ready yet (with Retry-After), canceled, or idempotency key in use",
    410: "Expired",
    412: "Changed after the `If-Match` state was read",
    413: "Over a published cap",
    415: "Media type",
    422: "Understood but wrong; `errors` names each finding",
    429: "Over the key's rate, quota or open event streams (with Retry-After)",
    500: "A fault of the server; for exports: the export would not answer as the service does",
    503: "Queue full, store full, no worker (with Retry-After)",
}


def describe(app: FastAPI) -> None:
    """Make `app.openapi()` complete: request bodies, problems, the bearer scheme."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            _, extra = models_json_schema([(m, "validation") for m in _BODIES], ref_template=_REF)
            components = schema["components"]
            _drop_null_defaults(extra["$defs"])
            _hold_every_member(components["schemas"])
            components["schemas"] = {**extra["$defs"], **components["schemas"]}
            for name, answer in ANSWERS.items():
                components["schemas"][name]["examples"] = [answer]
            _drop_fastapi_errors(schema)
            _drop_null_parameters(schema)
            _make_keys_optional(schema)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document


def _drop_null_defaults(schemas: dict[str, Any]) -> None:
    """Programs send the defaults that they read; what a patch leaves out stays as it is, and null does not leave it."""
    shapes = [shape for schema in schemas.values() for shape in (schema, *schema.get("oneOf", []))]
    for shape in shapes:
        for of in shape.get("properties", {}).values():
            if of.get("default", ...) is None:
                del of["default"]


_PARTLY_SENT = {"Result", "ModelEvent", "WebhookAttempt"}
"""Answers whose members that are null may be left out."""


def _hold_every_member(answers: dict[str, Any]) -> None:
    """An answer has each of its members, also those that have a default in the code that makes it."""
    for name, schema in answers.items():
        members = schema.get("properties", {})
        for of in members.values():
            of.pop("default", None)
        if members and name not in _PARTLY_SENT:
            schema["required"] = list(members)


def _drop_null_parameters(schema: dict[str, Any]) -> None:
    """A parameter can be left out; it cannot be null, as FastAPI has it."""
    for operation in _operations(schema):
        for parameter in operation.get("parameters", []):
            of = parameter["schema"]
            if {"type": "null"} in of.get("anyOf", []):
                [real] = [s for s in of.pop("anyOf") if s != {"type": "null"}]
                of.update(real)


def _operations(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for methods in schema["paths"].values() for operation in methods.values()]


def _make_keys_optional(schema: dict[str, Any]) -> None:
    """A server on loopback wants none."""
    for operation in _operations(schema):
        if "security" in operation:
            operation["security"].append({})


def _drop_fastapi_errors(schema: dict[str, Any]) -> None:
    """FastAPI documents its own 422 wherever there is a parameter; the routes here say which errors they give."""
    for operation in _operations(schema):
        if "application/json" in operation["responses"].get("422", {}).get("content", {}):
            del operation["responses"]["422"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(unused, None)
