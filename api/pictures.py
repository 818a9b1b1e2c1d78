"""What kind of pictures a support set holds, where a client does not say: drawings or photographs.

The two are pre-processed in different ways and meta-models read one of them, so a kind must be known before anything
can be stored. Looks tell it, for next to nothing; where they do not agree, the support set is read for both kinds and
cross-validation decides (`adapter/choosing.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api import decode
from api.decode import Decoder, Payload, every
from meta_models.catalogue import Catalogue
from meta_models.inputs import Picture, UnreadableInput
from meta_models.manifest import Manifest

KINDS = ("drawing", "photo")

CLEAR = 0.8
"""Share of the pictures that must look alike for their kind to be beyond doubt."""


@dataclass(frozen=True)
class Reading:
    """A support set as the default for it reads it, and, where there is doubt, as the other kind's default does.

    Attributes:
        inputs: (n, *shape) as `manifest` reads them.
        rival: the other kind's default.
        other: (n, *shape) as `rival` reads them.
    """

    manifest: Manifest
    inputs: NDArray[Any]
    rival: Manifest | None = None
    other: NDArray[Any] | None = None


def defaults(catalogue: Catalogue) -> dict[str, Manifest]:
    """The best meta-model of each kind of picture that has one, by kind."""
    return {kind: catalogue.resolve(kind).manifest for kind in KINDS if kind in catalogue.aliases}


def read(
    decoder: Decoder, payloads: Sequence[Payload], of: dict[str, Manifest], *, both: bool, may_choose: bool
) -> Reading:
    """Read pictures by the default of the kind that most of them look like, drawings where half do.

    Args:
        decoder: reads them, each once but for those that look unlike most.
        payloads: the pictures.
        of: the default of each kind.
        both: for the other kind too, whatever they look like.
        may_choose: for the other kind too, where their looks leave a doubt.

    Raises:
        Unprocessable: lists every example that cannot be used.
    """
    specs = {kind: m.input for kind, m in of.items() if isinstance(m.input, Picture)}
    seen = decoder.pictures(payloads, specs, all_kinds=both)
    looks: dict[str, int] = dict.fromkeys(KINDS, 0)
    for one in seen:
        if not isinstance(one, UnreadableInput):
            looks[one.look] += 1

    def as_kind(number: int, kind: str) -> NDArray[Any]:
        one = seen[number]
        if isinstance(one, UnreadableInput):
            raise one
        if kind not in one.fitted:
            return decoder.one(payloads[number], specs[kind])
        return decode.read(one.fitted[kind])

    kind, rival = sorted(KINDS, key=lambda kind: -looks[kind])
    inputs = every(payloads, lambda number: as_kind(number, kind))
    if both or (may_choose and looks[kind] < CLEAR * len(payloads)):
        try:
            return Reading(of[kind], inputs, of[rival], np.stack([as_kind(i, rival) for i in range(len(payloads))]))
        except UnreadableInput:  # no drawing on one of the photographs, say: then they are none
            pass
    return Reading(of[kind], inputs)
