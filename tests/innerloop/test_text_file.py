"""The client knows a file of text as a server does, whatever it is encoded in."""

from __future__ import annotations

import pytest

from innerloop.client.text_file import is_text, text_of
from meta_models.inputs import modality_of, text_file

SAID = "größe,\r\n\tœuvre 𝄞"
SVG = '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_text_is_read_without_its_mark(encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("be") else ""  # Python writes that one without
    data = (mark + SAID).encode(encoding)
    assert text_of(data) == text_file.text_of(data) == SAID
    assert is_text(data)
    assert modality_of(data) == "text"


@pytest.mark.parametrize(
    "data",
    [
        SAID.encode("utf-16-le"),
        SAID.encode("utf-16")[:-1],
        SAID.encode("utf-32"),
        SAID.encode("latin-1", "replace"),
        b"\xff\xfe",
        b"my card\x00",
        "my card\x01".encode("utf-16"),
        SVG.encode(),
        SVG.encode("utf-16"),
        b"%PDF-1.7",
    ],
)
def test_what_is_no_text_is_none_to_both(data: bytes) -> None:
    assert not is_text(data)
    assert modality_of(data) != "text"
