"""The OpenAPI document as a page to read: `python -m api.reference > docs/http-api.md`. Knows no running service."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any, cast

from api.app import create_app

Json = dict[str, Any]

TITLES = {
    "models": "Models",
    "predictions": "Predictions",
    "versions": "Versions, examples and classes",
    "exports": "Exports",
    "meta-models": "Meta-models and limits",
    "health": "Health and metrics",
}
"""Sections by tag, in the order of the page; tags that are not here come last, under their own name."""

HEAD = """# HTTP reference

Written by `make openapi` from [openapi.json](openapi.json); do not edit. A running server shows the same at `/docs`.

Bodies are `application/json`. Where files are sent, the same goes as `application/msgpack` (or
`application/vnd.msgpack`), with bytes in place of base64, or as `multipart/form-data`, whose parts each section lists:
a setting among them is a plain field or a file, as a browser sends a Blob of JSON, and stands once.
What a browser sends of elements that nobody touched, empty settings and files without name and bytes, is passed over.
Every error is `application/problem+json`:

```json
{problem}
```

`code` is stable, `errors` names each finding by JSON Pointer, part, header or parameter, `retryable` says whether the
same request can succeed later; then there is a `Retry-After`. Every answer has an `X-Request-Id`.
A URL of more than 8 KiB is answered with `414`, headers or trailers of more than 64 KiB with `431`; then the connection
ends.

{meanings}
"""

MOST_TEXT = 60
_PLACEHOLDERS: Json = {"integer": 1, "number": 0.5, "boolean": False, "null": None}


def page(document: Json) -> str:
    """The whole page, in Markdown."""
    show = Examples(document)
    found = [(tag, o) for o in _operations(document) for tag in o[2]["tags"]]
    tags = sorted({tag for tag, _ in found}, key=lambda tag: (tag not in TITLES, [*TITLES, tag].index(tag)))
    meanings: dict[str, str] = {}
    for _, (_, _, operation) in found:
        for status, answer in operation["responses"].items():
            if status[0] in "45":
                meanings.setdefault(status, answer["description"])
    table = ["| status | |", "|---|---|", *(f"| `{s}` | {meanings[s]} |" for s in sorted(meanings))]
    problem = _pretty(show.of({"$ref": "#/components/schemas/Problem"}))
    parts = [HEAD.format(problem=problem, meanings="\n".join(table))]
    for tag in tags:
        parts.append(f"## {TITLES.get(tag, tag.capitalize())}\n")
        parts += [_section(show, *operation) for of, operation in found if of == tag]
    return "\n".join(parts)


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _section(show: Examples, method: str, path: str, operation: Json) -> str:
    lines = [f"### {method} {path}\n", operation.get("description", operation["summary"]), ""]
    if parameters := operation.get("parameters", []):
        lines += ["| parameter | in | |", "|---|---|---|", *(_parameter(p) for p in parameters), ""]
    content = operation.get("requestBody", {}).get("content", {})
    if form := content.get("multipart/form-data"):
        lines += [f"Parts of a form: {_parts(form['schema'])}.", ""]
    if content:
        schema = content["application/json"]["schema"]
        lines += ["```json", _pretty(show.of(schema)), "```", ""]
    answers = operation["responses"]
    for status in (s for s in answers if s[0] == "2"):
        lines += _answer(show, status, answers[status])
    if refusals := [f"`{s}`" for s in answers if s[0] in "45"]:
        lines += ["Refused: " + ", ".join(refusals) + ".", ""]
    show.met(answers)
    return "\n".join(lines)


def _parameter(parameter: Json) -> str:
    schema = parameter["schema"]
    notes = [parameter.get("description") or ""]
    if (default := schema.get("default")) is not None:
        notes.append(f"Default `{default}`.")
    if "minimum" in schema and "maximum" in schema:
        notes.append(f"From {schema['minimum']} to {schema['maximum']}.")
    return f"| `{parameter['name']}` | {parameter['in']} | {' '.join(filter(None, notes))} |"


def _parts(schema: Json) -> str:
    return ", ".join(
        f"`{name}`" + (" (files or texts)" if of.get("type") == "array" else "") for name, of in _named(schema)
    )


def _named(schema: Json) -> list[tuple[str, Json]]:
    """Once each, those too of which the document shows two of any number."""
    return list({re.sub(r"\[.+\]$", "[<label>]", name): of for name, of in schema["properties"].items()}.items())


def _answer(show: Examples, status: str, answer: Json) -> list[str]:
    description = answer["description"]
    lines = [f"`{status}`" + ("" if description == "Successful Response" else f" {description}")]
    if headers := answer.get("headers"):
        lines[0] += " · " + ", ".join(f"`{name}`" for name in headers)
    content = answer.get("content", {})
    if schema := content.get("application/json", {}).get("schema"):
        if status == "202":  # as the answer that is ready
            return [*lines, ""]
        return [*lines, "", "```json", _pretty(show.of(schema)), "```", ""]
    return [*lines, "", *(f"As `{media_type}`.\n" for media_type in content)]


class Examples:
    """Examples of schemas: what they say themselves, else the plainest value."""

    def __init__(self, document: Json) -> None:
        self._schemas: Json = document["components"]["schemas"]

        self._met: set[str] = set()

    def met(self, answers: Json) -> None:
        """From here on what these answers show is only named."""
        schemas = (c["schema"] for a in answers.values() for c in a.get("content", {}).values())
        self._met |= {s["$ref"] for s in schemas if "$ref" in s}

    def of(self, schema: Json) -> Any:
        """One value of a schema, texts shortened; of what the page has shown already, its first members."""
        if "$ref" in schema:
            whole = self.of(self._schemas[schema["$ref"].rsplit("/")[-1]])
            if schema["$ref"] not in self._met:
                return whole
            return {**dict(list(whole.items())[:3]), "…": f"a {schema['$ref'].rsplit('/')[-1]}, as above"}
        if "examples" in schema:
            return _shortened(schema["examples"][0])
        for known in ("const", "default"):
            if schema.get(known) is not None:
                return _shortened(schema[known])
        if "enum" in schema:
            return schema["enum"][-1] if "ready" not in schema["enum"] else "ready"
        if "anyOf" in schema:
            return self.of(next(s for s in schema["anyOf"] if s != {"type": "null"}))
        return self._plainest(schema)

    def _plainest(self, schema: Json) -> Any:
        kind = schema.get("type")
        if kind == "object" or "properties" in schema:
            named = cast("dict[str, Json]", schema.get("properties", {}))
            return {name: self.of(of) for name, of in named.items()}
        if kind == "array":
            items: Json = schema.get("items", {})
            named = self._schemas.get(items.get("$ref", "").rsplit("/")[-1], {})
            if len(named.get("examples", [])) > 1:  # of several kinds: all of them
                return _shortened(named["examples"])
            return [self.of(item) for item in schema.get("prefixItems") or [items]]
        if kind == "string":
            return "2026-01-31T12:00:00Z" if schema.get("format") == "date-time" else "…"
        return _PLACEHOLDERS.get(str(kind))


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= MOST_TEXT else value[:16] + "…"
    if isinstance(value, dict):
        return {k: _shortened(v) for k, v in cast("Json", value).items()}
    return [_shortened(v) for v in cast("list[Any]", value)] if isinstance(value, list) else value


def _pretty(value: Any) -> str:
    """JSON on as few lines as can be read."""
    return "\n".join(_lines(value, ""))


def _lines(value: Any, indent: str) -> list[str]:
    plain = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(plain) <= 110 or not isinstance(value, dict | list) or not value:
        return [indent + plain]
    inner = indent + "  "
    if isinstance(value, list):
        blocks = [_lines(v, inner) for v in cast("list[Any]", value)]
    else:
        blocks: list[list[str]] = []
        for k, v in cast("Json", value).items():
            block = _lines(v, inner)
            block[0] = f"{inner}{json.dumps(k)}: {block[0].lstrip()}"
            blocks.append(block)
    for block in blocks[:-1]:
        block[-1] += ","
    left, right = ("[", "]") if isinstance(value, list) else ("{", "}")
    return [indent + left, *(line for block in blocks for line in block), indent + right]


if __name__ == "__main__":
    sys.stdout.write(page(create_app().openapi()))
