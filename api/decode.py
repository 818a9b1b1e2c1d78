"""Inputs of a client to arrays a meta-model reads; every refusal names its example."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter.config import Settings
from adapter.errors import ErrorItem, TooLarge, Unprocessable
from meta_models.inputs import Caps, InputSpec, Picture, UnreadableInput
from meta_models.inputs.apart import Apart
from meta_models.inputs.crew import Crew, Seen, Spec
from meta_models.inputs.picture import SMALLER
from meta_models.inputs.reading import check_shape, too_large

Read = NDArray[Any] | UnreadableInput
"""An input as a meta-model reads it, or what is wrong with it."""

MOST_AT_ONCE = 16
"""Pictures as large as one may be whose pixels may come in one request, in however many pictures."""

_URL_SAFE = str.maketrans("-_", "+/")


@dataclass(frozen=True)
class Payload:
    """One input as it arrived.

    Attributes:
        content: what JSON held, or the bytes of a file.
        pointer: where in the request it stands.
        label: its label, in a support set.
        modality: the member of JSON that held it; None for a file, which is whatever it can be read as.
    """

    content: Any
    pointer: str
    label: str | None = None
    modality: str | None = None


class Decoder:
    """Reads inputs within the server's limits: sounds in processes of their own, many pictures on every core."""

    def __init__(self, settings: Settings, helpers: int | None = None) -> None:
        """`helpers` is the number of processes that read pictures beside this one; unless given, `Crew` knows."""
        self._caps = Caps(
            settings.max_image_bytes,
            settings.max_image_pixels,
            settings.max_text_characters,
            settings.max_audio_bytes,
            settings.max_audio_seconds,
        )
        self._sounds = Apart()
        self._crew = Crew(helpers)

    def close(self) -> None:
        """End what was started to read inputs."""
        self._sounds.close()
        self._crew.close()

    def one(self, payload: Payload, spec: InputSpec, shape: tuple[int, ...] = ()) -> NDArray[Any]:
        """One input as the meta-model reads it.

        Args:
            payload: the input.
            spec: of the meta-model.
            shape: of the model's other inputs; () accepts any that `spec` does.

        Raises:
            UnreadableInput: what is wrong with it.
        """
        content = _content(payload, spec.modality, encoded=spec.encoded)
        if spec.modality == "audio":
            content = self._sounds(content, self._caps)
        array = spec.read(content, self._caps)
        check_shape(array.shape, shape)
        return array

    def each(self, payloads: Sequence[Payload], spec: InputSpec, shape: tuple[int, ...] = ()) -> list[Read]:
        """Inputs of one model, or what is wrong with each; unless given, the shape is that of most."""
        if isinstance(spec, Picture):
            seen = self.pictures(payloads, {spec.kind: spec})
            return [one if isinstance(one, UnreadableInput) else one.fitted[spec.kind] for one in seen]
        found: list[Read] = []
        for payload in payloads:
            try:
                found.append(self.one(payload, spec, shape))
            except UnreadableInput as error:
                found.append(error)
        if not shape:
            shape = _most_common_shape(found)
            found = [_of_shape(one, shape) for one in found]
        return found

    def pictures(
        self, payloads: Sequence[Payload], specs: Mapping[str, Spec], *, all_kinds: bool = False
    ) -> list[Seen | UnreadableInput]:
        """Pictures as the kind among `specs` that each looks like reads it, or as all of them do.

        Those that begin beyond the pixels of `MOST_AT_ONCE` are refused.
        """
        contents: list[bytes | UnreadableInput] = []
        for payload in payloads:
            try:
                contents.append(_content(payload, "image", encoded=True))
            except UnreadableInput as error:
                contents.append(error)
        contents = self._within(contents)
        files = [content for content in contents if not isinstance(content, UnreadableInput)]
        seen = iter(self._crew.look(files, specs, self._caps, all_kinds=all_kinds))
        return [content if isinstance(content, UnreadableInput) else next(seen) for content in contents]

    def _within(self, contents: list[bytes | UnreadableInput]) -> list[bytes | UnreadableInput]:
        if len(contents) <= MOST_AT_ONCE:
            return contents
        most, n_pixels = MOST_AT_ONCE * self._caps.image_pixels, 0
        found: list[bytes | UnreadableInput] = []
        for content in contents:
            size = 0 if isinstance(content, UnreadableInput) else Picture.n_pixels(content)
            if size <= self._caps.image_pixels:  # larger ones are refused by themselves
                n_pixels += size
            beyond = size and n_pixels > most
            detail = f"the pictures of this request have more than {most} pixels together; {SMALLER}"
            found.append(too_large("image", detail) if beyond else content)
        return found

    def support(self, payloads: Sequence[Payload], spec: InputSpec, shape: tuple[int, ...] = ()) -> NDArray[Any]:
        """All examples of a support set, (n, *shape).

        Where class names say something to the meta-model, each example takes its own along.

        Raises:
            Unprocessable: lists every example that cannot be used.
        """
        found = self.each(payloads, spec, shape)
        return every(payloads, lambda number: spec.with_name(read(found[number]), payloads[number].label or ""))


def _most_common_shape(found: Sequence[Read]) -> tuple[int, ...]:
    shapes = Counter(one.shape for one in found if not isinstance(one, UnreadableInput))
    return shapes.most_common(1)[0][0] if shapes else ()


def _of_shape(found: Read, shape: tuple[int, ...]) -> Read:
    try:
        check_shape(read(found).shape, shape)
    except UnreadableInput as error:
        return error
    return found


def read(found: Read) -> NDArray[Any]:
    """What was read.

    Raises:
        UnreadableInput: why nothing was.
    """
    if isinstance(found, UnreadableInput):
        raise found
    return found


def every(payloads: Sequence[Payload], example: Callable[[int], NDArray[Any]]) -> NDArray[Any]:
    """(n, *shape): what `example` makes of the number of each example.

    Raises:
        Unprocessable: lists every example that cannot be used.
        TooLarge: likewise, where all of them are over a cap.
    """
    arrays: list[NDArray[Any]] = []
    errors: list[ErrorItem] = []
    statuses: set[int] = set()
    for number, payload in enumerate(payloads):
        try:
            arrays.append(example(number))
        except UnreadableInput as error:
            detail = f"example {number} (label {payload.label!r}): {error}"
            errors.append({"pointer": payload.pointer, "code": error.code, "detail": detail})
            statuses.add(error.status)
    if errors:
        first = errors[0]
        refusal = TooLarge if statuses == {TooLarge.status} else Unprocessable
        raise refusal(
            f"{len(errors)} of {len(payloads)} examples cannot be used; the first: {first.get('detail')}",
            code=first.get("code", "unreadable_input"),
            errors=errors,
        )
    return np.stack(arrays)


def _content(payload: Payload, modality: str, *, encoded: bool) -> Any:
    """What JSON held, or the bytes of a file.

    Raises:
        UnreadableInput: of another modality, or not base64.
    """
    if payload.modality not in (None, modality):
        raise UnreadableInput("wrong_modality", f'expected {{"{modality}": …}}, found {{"{payload.modality}": …}}')
    if encoded and isinstance(payload.content, str):
        return _from_base64(payload.content, modality)
    return payload.content


def _from_base64(text: str, modality: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)  # as programs write it
    except (binascii.Error, ValueError):
        pass
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    # As people and tools write it: broken into lines, URL-safe, without padding.
    text = "".join(text.split()).translate(_URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableInput(f"undecodable_{modality}", f"not base64 of a file: {error}") from error
