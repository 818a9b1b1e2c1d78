"""The OpenAPI document: valid, complete, and true of what the service answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from api.reference import page
from innerloop.embedded import Embedded
from tests.asking import adapt, drawn, support_of
from tests.drawings import b64, inputs_json, png

ROUTES = {
    ("get", "/v1/meta-models"),
    ("get", "/v1/meta-models/{name}"),
    ("get", "/v1/limits"),
    ("post", "/v1/models"),
    ("get", "/v1/models"),
    ("get", "/v1/models/{model_id}"),
    ("patch", "/v1/models/{model_id}"),
    ("delete", "/v1/models/{model_id}"),
    ("post", "/v1/models/{model_id}/cancel"),
    ("get", "/v1/models/{model_id}/events"),
    ("get", "/v1/models/{model_id}/examples"),
    ("post", "/v1/models/{model_id}/examples"),
    ("delete", "/v1/models/{model_id}/examples/{example_id}"),
    ("get", "/v1/models/{model_id}/examples/{example_id}/preview"),
    ("patch", "/v1/models/{model_id}/classes/{name}"),
    ("delete", "/v1/models/{model_id}/classes/{name}"),
    ("get", "/v1/models/{model_id}/versions"),
    ("get", "/v1/models/{model_id}/versions/{number}"),
    ("post", "/v1/models/{model_id}/predictions"),
    ("post", "/v1/models/{model_id}/exports"),
    ("post", "/v1/models/{model_id}/evaluations"),
    ("post", "/v1/classify"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
}

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"
PAGE = COMMITTED.with_name("http-api.md")

WITHOUT_BODY = {"/v1/models/{model_id}/cancel"}


@pytest.fixture(scope="module")
def document(server: Embedded) -> dict[str, Any]:
    answer = httpx.get(f"{server.url}/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    """Of a schema that refers to the document's components."""
    return Draft202012Validator({**schema, "components": document["components"]})


def within(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema and all that it is made of."""
    yield schema
    for keyword, of in schema.items():
        if keyword in ("properties", "patternProperties"):
            inner = list(of.values())
        elif keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
            inner = of
        else:
            inner = [of] if keyword in ("items", "additionalProperties", "contentSchema") else []
        for one in inner:
            yield from within(one) if isinstance(one, dict) else ()


def every_schema(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for schema in document["components"]["schemas"].values():
        yield from within(schema)
    for _, _, operation in operations(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        contents = [content for body in bodies for content in body.get("content", {}).values()]
        headers = [header for body in bodies for header in body.get("headers", {}).values()]
        for found in (*operation.get("parameters", []), *contents, *headers):
            yield from within(found["schema"])


def test_the_committed_document_is_the_served_one(document: dict[str, Any]) -> None:
    """After a change of the API: `make openapi`, and look at the difference."""
    assert json.loads(COMMITTED.read_text()) == document


def test_the_committed_page_is_the_documents(document: dict[str, Any]) -> None:
    assert PAGE.read_text() == page(document), "after a change of the API: `make openapi`"
    for method, path, _ in operations(document):
        assert f"### {method.upper()} {path}\n" in PAGE.read_text()


def test_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")


def test_schemas_have_no_words_that_are_not_json_schemas(document: dict[str, Any]) -> None:
    """Programs that are made from the document pass over those, and bounds among them."""
    contents = {"contentMediaType", "contentEncoding", "contentSchema"}
    known = {*Draft202012Validator.VALIDATORS, *contents, "title", "description", "default", "examples"}
    for schema in every_schema(document):
        assert set(schema) <= known, schema


def test_what_a_request_may_leave_out_is_not_documented_as_null(http: httpx.Client, document: dict[str, Any]) -> None:
    """Programs that are made from the document send the defaults that it names."""
    for schema in every_schema(document):
        if schema.get("additionalProperties") is False:  # what is sent
            assert all(of.get("default", "") is not None for of in schema["properties"].values()), schema
    model = adapt(http, drawn(2, 1, first=2910))["id"]
    patch = validator(document, {"$ref": "#/components/schemas/ModelPatch"})
    for name in document["components"]["schemas"]["ModelPatch"]["properties"]:
        answer = http.patch(f"/v1/models/{model}", json={name: None})
        assert patch.is_valid({name: None}) == (answer.status_code == 200), name


def test_an_input_of_each_modality_is_a_shape_of_its_own(document: dict[str, Any]) -> None:
    """Programs that are made from the document then have a type for it, with the one member that it takes."""
    inputs: dict[str, Any] = {"image": "AAAA", "audio": "AAAA", "text": "a", "vector": [1.0]}
    for name, shared in (("Content", set[str]()), ("QueryInput", {"id"})):
        shapes = document["components"]["schemas"][name]["oneOf"]
        assert [set(shape["properties"]) - shared for shape in shapes] == [{modality} for modality in inputs]
        assert len({shape["title"] for shape in shapes}) == len(shapes)
        of = validator(document, {"$ref": f"#/components/schemas/{name}"})
        assert all(of.is_valid({modality: one, **dict.fromkeys(shared, "q")}) for modality, one in inputs.items())
        assert not any(of.is_valid(refused) for refused in ({}, inputs, {"text": "a", "image": None}, {"sound": "a"}))


def test_an_answer_has_every_member_that_it_is_documented_with(document: dict[str, Any]) -> None:
    """Programs made from the document else look for what is always there. What is missing then fails
    `test_answers_are_as_documented`.
    """
    answers = [a for _, _, o in operations(document) for status, a in o["responses"].items() if status[0] == "2"]
    reached = [
        a["content"]["application/json"]["schema"] for a in answers if "application/json" in a.get("content", {})
    ]
    named: dict[str, dict[str, Any]] = {}
    while reached:
        for schema in within(reached.pop()):
            name = schema.get("$ref", "").rsplit("/", 1)[-1]
            if name and name not in named:
                named[name] = document["components"]["schemas"][name]
                reached.append(named[name])
    assert len(named) > 30
    for name in named.keys() - {"Result", "ModelEvent", "WebhookAttempt"}:
        assert set(named[name].get("properties", {})) == set(named[name].get("required", [])), name
        assert not any("default" in of for of in named[name].get("properties", {}).values()), name


def test_every_route_is_there(document: dict[str, Any]) -> None:
    assert {(method, path) for method, path, _ in operations(document)} >= ROUTES


def test_every_operation_says_what_it_does_and_has_its_own_id(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for method, path, operation in operations(document):
        assert operation.get("summary"), f"{method} {path}"
        assert operation.get("tags"), f"{method} {path}"


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        if path == "/readyz":  # 503 there is the answer, not an error
            continue
        errors = {code: r for code, r in operation["responses"].items() if code[0] in "45"}
        for code, response in errors.items():
            assert list(response["content"]) == ["application/problem+json"], f"{method} {path} {code}"
            assert response["content"]["application/problem+json"]["schema"]["$ref"].endswith("/Problem")
        wanted = {"401", "503"} if path.startswith("/v1/") else set()
        wanted |= {"404"} if "{" in path else set()
        wanted |= {"400", "408", "413", "415", "422"} if "requestBody" in operation else set()
        wanted |= {"409"} if path in ("/v1/models", "/v1/models/{model_id}/predictions") and method == "post" else set()
        assert set(errors) >= wanted, f"{method} {path} lacks {wanted - set(errors)}"


def test_every_body_is_documented(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        if method not in ("post", "patch") or path in WITHOUT_BODY:
            assert "requestBody" not in operation, path
            continue
        body = operation["requestBody"]
        assert body["required"], path
        wanted = {"application/json", "multipart/form-data"} if method == "post" else {"application/json"}
        assert wanted <= set(body["content"]), path


def test_headers_that_clients_need_are_documented(document: dict[str, Any]) -> None:
    adapt_route = document["paths"]["/v1/models"]["post"]
    parameters = {p["name"].lower() for p in adapt_route["parameters"] if p["in"] == "header"}
    assert parameters >= {"prefer", "idempotency-key"}
    for code, header in (
        ("201", "Location"),
        ("202", "Location"),
        ("202", "Retry-After"),
        ("503", "Retry-After"),
        ("201", "Idempotent-Replayed"),
        ("202", "Idempotent-Replayed"),
    ):
        assert header in adapt_route["responses"][code].get("headers", {}), f"{code} lacks {header}"


def test_keys_are_documented(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"].values()
    assert any(scheme["type"] == "http" and scheme["scheme"] == "bearer" for scheme in schemes)


def test_examples_are_valid_and_there_for_every_json_body(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    with_examples = {name for name, schema in schemas.items() if schema.get("examples")}
    for name in with_examples:
        for example in schemas[name]["examples"]:
            validator(document, {"$ref": f"#/components/schemas/{name}"}).validate(example)
    for schema in every_schema(document):
        for example in schema.get("examples", []):
            assert validator(document, schema).is_valid(example), schema
    for _, path, operation in operations(document):
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]["application/json"]
            named = content["schema"].get("$ref", "").rsplit("/")[-1]
            assert content.get("examples") or content.get("example") or named in with_examples, path


def test_examples_work_as_sent(http: httpx.Client, document: dict[str, Any]) -> None:
    """What the document shows can be pasted: no 4xx but for the one drawing that stands for all classes."""
    content = document["paths"]["/v1/models"]["post"]["requestBody"]["content"]["application/json"]
    [example] = document["components"]["schemas"][content["schema"]["$ref"].rsplit("/")[-1]]["examples"]
    answer = http.post("/v1/models", json=example)
    assert answer.status_code == 201, answer.text
    content = document["paths"]["/v1/models/{model_id}/predictions"]["post"]["requestBody"]["content"]
    named = content["application/json"]["schema"]["$ref"].rsplit("/")[-1]
    [example] = document["components"]["schemas"][named]["examples"]
    predicted = http.post(f"{answer.headers['location']}/predictions", json=example)
    assert predicted.status_code == 200, predicted.text
    assert not any(result.get("error") for result in predicted.json()["results"])


def test_answers_are_as_documented(http: httpx.Client, document: dict[str, Any]) -> None:
    examples = drawn(2, 1, first=2900)
    model = adapt(http, examples)["id"]
    inputs = {"inputs": [*inputs_json([2900]), {"image": b64(b"broken")}]}
    async_ = {"Prefer": "respond-async"}
    other = {"support": support_of(drawn(2, 1, first=2905))}
    asked: list[tuple[str, str, httpx.Response]] = [
        ("post", "/v1/models", http.post("/v1/models", json={"support": support_of(examples)})),
        ("post", "/v1/models", http.post("/v1/models", json=other, headers=async_)),
        ("post", "/v1/models", http.post("/v1/models", json={"support": []})),
        ("post", "/v1/models", http.post("/v1/models", content=png(0, 0), headers={"Content-Type": "image/png"})),
        ("get", "/v1/models", http.get("/v1/models")),
        ("get", "/v1/models/{model_id}", http.get(f"/v1/models/{model}")),
        ("get", "/v1/models/{model_id}", http.get("/v1/models/mdl_none")),
        (
            "post",
            "/v1/models/{model_id}/predictions",
            http.post(f"/v1/models/{model}/predictions", json=inputs),
        ),
        ("get", "/v1/models/{model_id}/examples", http.get(f"/v1/models/{model}/examples")),
        (
            "get",
            "/v1/models/{model_id}/examples/{example_id}/preview",
            http.get(f"/v1/models/{model}/examples/ex_none/preview"),
        ),
        ("post", "/v1/classify", http.post("/v1/classify", json={"support": support_of(examples), **inputs})),
        (
            "post",
            "/v1/models/{model_id}/evaluations",
            http.post(f"/v1/models/{model}/evaluations", json={"queries": support_of(examples)}),
        ),
        (
            "post",
            "/v1/models/{model_id}/examples",
            http.post(f"/v1/models/{model}/examples", json={"examples": support_of(drawn(2, 1, first=2915))}),
        ),
        ("get", "/v1/models/{model_id}/versions", http.get(f"/v1/models/{model}/versions")),
        ("get", "/v1/models/{model_id}/versions/{number}", http.get(f"/v1/models/{model}/versions/2")),
        ("get", "/v1/meta-models", http.get("/v1/meta-models")),
        ("get", "/v1/meta-models/{name}", http.get("/v1/meta-models/omniglot-maml")),
        ("get", "/v1/limits", http.get("/v1/limits")),
        ("get", "/healthz", http.get("/healthz")),
        ("get", "/readyz", http.get("/readyz")),
    ]
    for method, path, answer in asked:
        documented = document["paths"][path][method]["responses"][str(answer.status_code)]
        media = answer.headers["content-type"].split(";")[0]
        validator(document, documented["content"][media]["schema"]).validate(answer.json())


def test_every_answer_and_every_form_has_an_example_that_fits(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    answers = [
        content["application/json"]["schema"]
        for operation in operations
        for status, answer in operation["responses"].items()
        if status.startswith("2") and "application/json" in (content := answer.get("content", {}))
    ]
    names = {schema["$ref"].rsplit("/", 1)[1] for schema in answers}
    assert len(names) > 10
    for name in names:
        assert schemas[name].get("examples"), name
    for schema in schemas.values():
        for example in schema.get("examples", []):
            Draft202012Validator({**schema, "components": document["components"]}).validate(example)
    contents = [operation["requestBody"]["content"] for operation in operations if "requestBody" in operation]
    forms = [content["multipart/form-data"] for content in contents if "multipart/form-data" in content]
    assert len(forms) == 6
    for form in forms:
        known, patterns = form["schema"]["properties"], form["schema"].get("patternProperties", {})
        assert form["example"]
        for part in form["example"]:
            assert part in known or any(re.match(pattern, part) for pattern in patterns), part


def test_pages_that_show_the_document_can_send_its_forms(document: dict[str, Any]) -> None:
    """They offer files for binary items alone, join the texts of an array that has no encoding, make up what has no
    example, and send all that they filled in.
    """
    neutral = {"meta_model": "", "name": "letters", "ttl_seconds": 7 * 86400, "version": "latest", "top_k": 5}
    seen: set[str] = set()
    for _, path, operation in operations(document):
        form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
        for part, of in form["schema"]["properties"].items() if form else []:
            if of.get("type") == "array":
                assert of["items"] == {"type": "string", "format": "binary"}, f"{path} {part}"
                assert form["encoding"][part] == {"style": "form", "explode": True}
                assert of["examples"] == [[]]
            elif part in neutral:
                assert neutral[part] in [*of.get("examples", []), of.get("default")], f"{path} {part}"
                assert validator(document, of).is_valid(neutral[part])
            elif part == "webhook":
                assert of["anyOf"][0] == {"const": ""}
            else:
                assert part in {"adaptation", "format"} or "contentMediaType" in of, f"{path} {part}"
            seen.add(part)
    assert seen >= {*neutral, "webhook", "inputs", "support[ka]", "support[na]", "queries[ka]", "examples[na]"}


def test_the_example_of_a_stream_is_an_event_as_it_is_sent(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/models/{model_id}/events"]["get"]
    stream = operation["responses"]["200"]["content"]["text/event-stream"]
    fields = dict(line.split(": ", 1) for line in stream["example"].strip().split("\n"))
    validator(document, stream["schema"]).validate(fields)
    data = json.loads(fields["data"])
    validator(document, {"$ref": "#/components/schemas/ModelEvent"}).validate(data)
    assert (data["id"], data["event"]) == (fields["id"], fields["event"])


def test_message_pack_is_a_file_of_what_json_takes(document: dict[str, Any]) -> None:
    contents = [o["requestBody"]["content"] for _, _, o in operations(document) if "requestBody" in o]
    packed = [content for content in contents if "application/msgpack" in content]
    assert len(packed) == 6
    for content in packed:
        schema = content["application/msgpack"]["schema"]
        assert (schema["type"], schema["format"]) == ("string", "binary")
        assert schema["contentSchema"] == content["application/json"]["schema"]
