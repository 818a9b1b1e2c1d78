"""What the bytes of a file of text say. The client tells the same by `innerloop/client/text_file.py`."""

from __future__ import annotations

import codecs


def text_of(data: bytes) -> str:
    """What is in UTF-8, or in UTF-16 that says so by its byte order mark, as spreadsheets write it; without the mark.

    Raises:
        UnicodeDecodeError: neither, or there is a NUL in it, as in UTF-16 that does not say so.
    """
    text = data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    if "\0" in text:
        raise UnicodeDecodeError("text", data, 0, len(data), "no text has a NUL in it")
    return text
