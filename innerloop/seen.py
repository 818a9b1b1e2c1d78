"""What a meta-model sees of an input, without a server. No torch.

look(Catalogue(), "drawing.png")
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from innerloop.client.inputs import as_content
from meta_models.catalogue import DEFAULT_ALIAS, Catalogue
from meta_models.inputs import Caps, Picture, TextSpec, UnreadableInput, modality_of
from meta_models.inputs.drawing import looks_drawn
from meta_models.inputs.preview import Preview

if TYPE_CHECKING:
    from innerloop.client.inputs import Input


@dataclass(frozen=True)
class Seen:
    """`preview` is what `meta_model`, a reference, sees."""

    meta_model: str
    preview: Preview


def look(catalogue: Catalogue, given: Input, meta_model: str | None = None) -> Seen:
    """One input as a published meta-model sees it.

    Args:
        catalogue: the published ones.
        given: a file or a text, as the client takes them.
        meta_model: name or alias; None takes the best of the input's kind, of pictures by their looks.

    Raises:
        UnknownMetaModelError: none has that name.
        UnreadableInput: what is wrong with the input.
        OSError: the file cannot be read.
    """
    content = as_content(given)
    manifest = catalogue.resolve(meta_model or _kind(content)).manifest
    spec = manifest.input
    if isinstance(content, str) and not isinstance(spec, TextSpec):
        raise UnreadableInput("wrong_modality", f"{manifest.reference} reads files ({spec.modality}), this is a text")
    seen = spec.preview(spec.read(content, Caps()), manifest.backbone)
    if isinstance(spec, TextSpec) and (cut := spec.cut(content)):
        seen = replace(seen, words=f"{seen.words}\n{cut} more tokens are cut")
    return Seen(manifest.reference, seen)


def _kind(content: bytes | str) -> str:
    """The alias that stands for the best meta-model of such inputs."""
    if isinstance(content, str):
        return DEFAULT_ALIAS["text"]
    if (modality := modality_of(content)) == "image":
        return "drawing" if looks_drawn(Picture.decode(content, Caps())) else "photo"
    return DEFAULT_ALIAS[modality]
