"""What meta-models read. A modality is one file here and one line in `MODALITIES` and in `InputSpec`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from meta_models.inputs.drawing import DrawingSpec
from meta_models.inputs.photo import PhotoSpec
from meta_models.inputs.picture import Picture
from meta_models.inputs.reading import Caps, Reads, UnreadableInput
from meta_models.inputs.sound import SoundSpec
from meta_models.inputs.text import TextSpec
from meta_models.inputs.vector import VectorSpec

InputSpec = Annotated[DrawingSpec | PhotoSpec | SoundSpec | TextSpec | VectorSpec, Field(discriminator="kind")]
"""Every pre-processing a manifest can name."""

MODALITIES: dict[str, type[Reads]] = {
    "vector": VectorSpec,
    "audio": SoundSpec,
    "text": TextSpec,
    "image": DrawingSpec,  # and photographs, which are recognised alike
}
"""By the member that carries an input in JSON. A file is of the first one that recognises it."""


def modality_of(data: bytes) -> str:
    """Which modality a file is of, by its first bytes."""
    return next(name for name, spec in MODALITIES.items() if spec.recognises(data))


__all__ = [
    "MODALITIES",
    "Caps",
    "DrawingSpec",
    "InputSpec",
    "PhotoSpec",
    "Picture",
    "Reads",
    "SoundSpec",
    "TextSpec",
    "UnreadableInput",
    "VectorSpec",
    "modality_of",
]
