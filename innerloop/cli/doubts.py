"""What a server doubts about a support set, told by the files and texts that it was made of."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

from innerloop.cli.examples import Example

POINTERS = re.compile(r"(?<=[:,] )/support/\S+?(?=(, /support/\S+)*( and \d+ more)?$)")
"""Each place of a list that ends a warning; what looks like one in a class's name stands before a quote."""


def named(quality: dict[str, Any], brought: Sequence[dict[str, Any]], support: Sequence[Example]) -> dict[str, Any]:
    """A model's quality with the examples that look like another class, or that say little, as people know them.

    Args:
        quality: as the server tells it.
        brought: the model's examples. They stood so in the request that made the model, of whoever sent them first.
        support: the same as they are sent here; where labels tell that the order is another, nothing is named.
    """
    names: dict[str, str] = {}
    for example in brought:
        found = re.match(r"/support/(\d+)(/|$)", example["source"])
        here = support[int(found[1])] if found and int(found[1]) < len(support) else None
        if here is None or here.label != example["label"]:
            names = {}
            break
        names[example["source"]] = short(here.name)
    return {
        **quality,
        "suspicious": [{**s, "file": names.get(s["source"])} for s in quality["suspicious"]],
        "warnings": [POINTERS.sub(lambda place: names.get(place[0], place[0]), told) for told in quality["warnings"]],
    }


def suspicion(found: dict[str, Any]) -> str:
    looks = f"labelled {found['label']}, looks like {found['looks_like']} ({100 * found['probability']:.0f}%)"
    return f"{found['file'] or found['example']}: {looks}"


def short(name: str) -> str:
    return textwrap.shorten(name, 80, placeholder=" …")
