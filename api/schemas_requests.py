"""What clients send, as JSON: strict, and documented with examples."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from adapter.support_set import is_printable
from meta_models.inputs import MODALITIES
from meta_models.inputs.vector import MAX_DIMENSIONS

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAABgAAAAYAQAAAADIDABVAAAAQ0lEQVR42lXMoRGAMAAEwcuZ4KADUkrKpxAKiGQYJo8FsXZLQH4G"
    "gyosrtkkTWYnV6QgNzKQEzkge0zD2eGhCpTP+QKZCROZgF3nZQAAAABJRU5ErkJggg=="
)
"""A small drawing for examples: two strokes with a sharp bend."""

RING = (
    "iVBORw0KGgoAAAANSUhEUgAAABgAAAAYAQAAAADIDABVAAAAP0lEQVR42l3MwQ2AIBQE0flbGCTSiJ3YmomUhX89cAEP7zaZMIhVB+PI0pTHzXDVy7k3"
    "E8NVXESWhrF4iN/vA8joEvSNaMg8AAAAAElFTkSuQmCC"
)
"""Another, so that the answers of the page where people try the service are sure."""


MAX_ITEMS = 100_000
"""Of one array or map of a body; what a server takes in one request is less."""

MAX_COLLECTIONS = 10 * MAX_ITEMS
"""Arrays and maps of a whole body: each takes a hundred times the memory of its two brackets."""


def _whole(value: object) -> object:
    """5.0 is an integer to JSON Schema, and to serializers that know one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_MOST = 2**53 - 1
"""What every JSON parser reads exactly (RFC 7493)."""

# The bounds of a number stand before what is done with others first: after it, the document has no word for them.
Steps = Annotated[int, Field(ge=0, le=_MOST), BeforeValidator(_whole)]
Ordinal = Annotated[int, Field(ge=1, le=_MOST), BeforeValidator(_whole)]
Life = Annotated[int, Field(ge=60, le=_MOST), BeforeValidator(_whole)]
"""In seconds."""


class In(BaseModel):
    """Strict: text is no number, and neither is `true`."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _version(value: object) -> object:
    number = _whole(value)
    is_number = isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= 10**9
    if is_number or number in (None, "stable", "latest"):
        return number
    raise ValueError(f"version is a whole number from 1, stable or latest, not {str(value)[:40]!r}")


VersionIn = Annotated[
    int | Literal["stable", "latest"] | None,
    PlainValidator(_version),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 10**9},
                {"type": "string", "enum": ["stable", "latest"]},
                {"type": "null"},
            ]
        }
    ),
]


def _file(value: object) -> str | bytes:
    if isinstance(value, str | bytes):
        return value
    raise ValueError("base64 is needed, or bytes where the body is MessagePack")


FileIn = Annotated[
    str | bytes,
    PlainValidator(_file),
    WithJsonSchema({"type": "string", "format": "byte", "contentEncoding": "base64"}),
]
"""Base64 in JSON, bytes in MessagePack."""

Numbers = Annotated[
    list[float | None],
    FailFast(),
    Field(max_length=MAX_ITEMS),
    WithJsonSchema({"type": "array", "items": {"type": "number"}, "maxItems": MAX_DIMENSIONS}),
]
"""Where a program writes null for what is no number, it is read as one that is missing; of what is neither, the first
is told, not a million of them. One that is longer than `MAX_DIMENSIONS` spoils no other input: whoever reads it refuses
it."""


_ABSENT: Any = None


def _left_out(schema: dict[str, Any]) -> None:
    """A member that may be absent, but not null."""
    schema.pop("default")


def _one_of_each(schema: dict[str, Any]) -> None:
    """A shape for each modality: programs made from the document have no type for members of which one is required."""
    properties: dict[str, Any] = schema.pop("properties")
    shared = {name: of for name, of in properties.items() if name not in MODALITIES}
    shape = {word: schema.pop(word) for word in ("type", "additionalProperties")}
    schema["oneOf"] = [
        {"title": f"{name.title()}{schema['title']}", **shape, "properties": {name: of, **shared}, "required": [name]}
        for name, of in properties.items()
        if name in MODALITIES
    ]


class Content(In):
    """One input: the member that names the meta-model's modality."""

    image: FileIn = Field(
        default=_ABSENT,
        description="A PNG, JPEG, WebP, GIF, BMP or TIFF file: in base64, or as bytes where the body is MessagePack.",
        examples=[PNG],
        json_schema_extra=_left_out,
    )
    audio: FileIn = Field(
        default=_ABSENT,
        description="A WAV, FLAC, OGG or MP3 file, 2,000 to 192,000 samples a second, 16 channels at most; as `image`.",
        json_schema_extra=_left_out,
    )
    text: str = Field(
        default=_ABSENT,
        description="Words: a ticket, a question, a command.",
        examples=["my card has not arrived yet"],
        json_schema_extra=_left_out,
    )
    vector: Numbers = Field(
        default=_ABSENT,
        description="An embedding or a row of numbers; as many in every input of a model.",
        examples=[[0.12, -0.5, 0.33]],
        json_schema_extra=_left_out,
    )

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=_one_of_each)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        found = [name for name in MODALITIES if name in self.model_fields_set]
        if len(found) != 1:
            raise ValueError(f"one of {', '.join(sorted(MODALITIES))} is needed, found {' and '.join(found) or 'none'}")
        return self

    @property
    def given(self) -> tuple[str, Any]:
        """The modality, which is the name of the one member, and what the member holds."""
        (name,) = MODALITIES.keys() & self.model_fields_set
        return name, getattr(self, name)


class SupportExample(In):
    """One labelled example."""

    label: str = Field(examples=["ka"], description="Names its class. Beside a text, what the name says counts too.")
    input: Content


class AdaptationIn(In):
    """Inner-loop settings; null takes the meta-model's default."""

    inner_steps: Steps | None = None
    inner_lr: float | None = Field(default=None, gt=0)


class WebhookIn(In):
    """Who is told when the model, or a later version of it, is ready or failed. Signed after Standard Webhooks."""

    url: str = Field(max_length=2000, examples=["https://example.com/innerloop"])
    secret: str | None = Field(default=None, max_length=200, description="`whsec_…`; left out: the API key's own.")


def _named(name: str) -> str:
    if not is_printable(name):
        raise ValueError(f"a name must be printable, this one is {name!r}")
    return name


ModelName = Annotated[str, Field(max_length=200), AfterValidator(_named)]
"""Shown to people as it is, in terminals too."""


class AdaptOptions(In):
    """Everything of an adapt request but its examples."""

    meta_model: str | None = Field(
        default=None,
        description="A published name, `name@version`, an alias, or `auto`; left out: the modality's alias, of pictures"
        " that of the kind they look like, or both kinds are tried where their looks leave a doubt.",
    )
    name: ModelName | None = Field(
        default=None, description="A name for people, of printable characters; the id is what counts."
    )
    adaptation: AdaptationIn = Field(default=AdaptationIn(), json_schema_extra=_left_out)
    ttl_seconds: Life | None = Field(default=None, description="Life of the model; default 604,800 (7 days).")
    webhook: WebhookIn | None = None


class AdaptRequest(AdaptOptions):
    """A support set to adapt to."""

    support: list[SupportExample] = Field(max_length=MAX_ITEMS, json_schema_extra={"minItems": 2})

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "meta_model": "omniglot-protonet",
                    "name": "letters",
                    "support": [
                        {"label": "ka", "input": {"image": PNG}},
                        {"label": "ga", "input": {"image": RING}},
                    ],
                }
            ]
        },
    )


class QueryInput(Content):
    """One input to classify; `id` comes back with its answer."""

    id: str | None = Field(default=None, max_length=200)


class PredictRequest(In):
    """Inputs to classify."""

    version: VersionIn = Field(default=None, description="As the query parameter `version`.")

    inputs: list[QueryInput] = Field(max_length=MAX_ITEMS, json_schema_extra={"minItems": 1})
    top_k: Ordinal = Field(default=5, description="Scores listed for each input, best first.")

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"inputs": [{"id": "q1", "image": PNG}], "top_k": 3}]}
    )


class ClassifyRequest(In):
    """A support set and queries in one request; nothing is kept."""

    meta_model: str | None = None
    support: list[SupportExample] = Field(max_length=MAX_ITEMS, json_schema_extra={"minItems": 2})
    adaptation: AdaptationIn = Field(default=AdaptationIn(), json_schema_extra=_left_out)
    inputs: list[QueryInput] = Field(max_length=MAX_ITEMS, json_schema_extra={"minItems": 1})
    top_k: Ordinal = 5

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "support": [
                        {"label": "ka", "input": {"image": PNG}},
                        {"label": "ga", "input": {"image": RING}},
                    ],
                    "inputs": [{"id": "q1", "image": PNG}],
                }
            ]
        },
    )


class ExportRequest(In):
    """What to take away: a self-contained ONNX classifier, or the adapted tensors in safetensors."""

    format: Literal["onnx", "safetensors"]

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"format": "onnx"}]})


class ModelPatch(In):
    """What to change; fields that are left out stay. null takes the default again."""

    name: ModelName | None = Field(default=None, description="Of printable characters.")
    ttl_seconds: Life | None = Field(default=None, description="Life from now on.")
    stable: Ordinal = Field(
        default=_ABSENT, description="The version that `?version=stable` asks.", json_schema_extra=_left_out
    )
    false_reject_rate: float | None = Field(
        default=None, ge=0, lt=1, description="Target share of known queries that may be rejected; 0 rejects nothing."
    )

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "letters, checked", "ttl_seconds": 86400}]}
    )
