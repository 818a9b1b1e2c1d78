"""Headers that are lists: `Accept` and `Prefer`, of tokens with parameters, and `If-Match`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_QUOTED = r'"(?:[^"\\]|\\.)*"?'
"""To the end where it has none, so that reading takes no longer than the header is long."""
_ELEMENTS = re.compile(rf'(?:[^,"]|{_QUOTED})+')
_MEMBERS = re.compile(rf'(?:[^;"]|{_QUOTED})+')
_LISTS = (b"accept", b"if-match", b"prefer")
_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def elements(header: str) -> Iterator[list[tuple[str, str]]]:
    """Of each element of a list its members, those after the first its parameters: a lower-case name, and the value
    without quotation marks, empty where there is none (RFC 9110, section 5.6)."""
    for element in _ELEMENTS.findall(header):
        members = [_member(member) for member in _MEMBERS.findall(element)]
        if members and members[0][0]:
            yield members


def joined(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers with each list in one line: several lines say the same (RFC 9110, section 5.3)."""
    headers = list(headers)
    lists = {name: [value for other, value in headers if other == name] for name in _LISTS}
    if all(len(lines) < 2 for lines in lists.values()):
        return headers
    others = [(name, value) for name, value in headers if name not in lists]
    return [*others, *((name, b", ".join(lines)) for name, lines in lists.items() if lines)]


def preferred(accept: str, *offered: str) -> str:
    """Which of these media types a client wants (RFC 9110, section 12.5.1); the first where it says nothing of any.

    Of those it likes as much, what it names comes before what its `*` covers, then what it names first.
    """
    ranges = [(members[0][0], _quality(members[1:])) for members in elements(accept)]

    def wanted(media_type: str) -> tuple[float, int, int]:
        for closeness, name in enumerate((media_type, f"{media_type.partition('/')[0]}/*", "*/*")):
            for place, (known, quality) in enumerate(ranges):
                if known == name:
                    return quality, -closeness, -place
        return 0.0, 0, -len(ranges)

    return max(offered, key=wanted)


def _quality(parameters: list[tuple[str, str]]) -> float:
    """One that is no number from 0 to 1 counts for nothing."""
    given = next((value for name, value in parameters if name == "q"), "1")
    return float(given) if _QUALITY.fullmatch(given) else 0.0


def _member(text: str) -> tuple[str, str]:
    name, _, value = (part.strip() for part in text.partition("="))
    quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return name.lower(), re.sub(r"\\(.)", r"\1", value[1:-1]) if quoted else value
