"""Files of a JSON object a line: an interruption, or a full disk, leaves one as it was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def read(path: Path) -> list[dict[str, Any]]:
    """Its objects; none where there is no such file.

    Raises:
        ValueError: a line is damaged.
    """
    found: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else (), start=1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number} is damaged ({error}); remove that line") from error
    return found


def write(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """These in place of what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(one) + "\n" for one in objects))
    temporary.replace(path)
