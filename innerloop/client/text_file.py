"""Texts: what can be sent of them, which files are one, and what they say.

`meta_models/inputs/text_file.py` tells a server the same of files.
"""

from __future__ import annotations

import codecs
import re

_PICTURE = re.compile(r"%PDF-|\s*(<\?xml[^>]*>\s*|<!--(?:(?!-->).)*-->\s*|<!DOCTYPE[^>]*>\s*)*<svg[\s>]", re.DOTALL)
"""What begins files of characters that are no text: the server says what to do with them."""


def text_of(data: bytes) -> str:
    """What is in UTF-8, or in UTF-16 that says so by its byte order mark, as spreadsheets write it; without the mark.

    Raises:
        UnicodeDecodeError: neither, or there is a NUL in it, as in UTF-16 that does not say so.
    """
    text = data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    if "\0" in text:
        raise UnicodeDecodeError("text", data, 0, len(data), "no text has a NUL in it")
    return text


def is_text(data: bytes) -> bool:
    """Whether a file is one of text: without control characters, and no picture in words."""
    try:
        start = text_of(data)
    except UnicodeDecodeError:
        return False
    is_plain = start.strip() and not re.search("[\x01-\x08\x0e-\x1f]", start[:4096])
    return bool(is_plain) and not _PICTURE.match(start[:4096])


def sendable(text: str) -> str:
    """The text as it is.

    Raises:
        ValueError: half of a character that takes two in UTF-16 is in it, which UTF-8 and so JSON cannot say.
    """
    if lone := re.search("[\ud800-\udfff]", text):
        raise ValueError(f"character {lone.start()} of the text, {lone[0]!r}, is half of one (a lone surrogate)")
    return text
