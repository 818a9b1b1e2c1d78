"""Pictures in formats that nothing here reads, known by their first bytes, so that the refusal can name them."""

from __future__ import annotations

import re

_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF", b"avif": "AVIF", b"avis": "AVIF"}
"""What telephones and browsers save, as ISO base media files name it."""

_SVG = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*|<!--(?:(?!-->).)*-->\s*|<!DOCTYPE[^>]*>\s*)*<svg[\s>]", re.DOTALL
)


def foreign(data: bytes) -> str | None:
    """The name of such a format, or None."""
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12])
    if data[:5] == b"%PDF-":
        return "PDF"
    if data[:4] == b"8BPS":
        return "PSD"
    return "SVG" if _SVG.match(data[:4096]) else None
