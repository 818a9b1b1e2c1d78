"""Forms whose parts nobody could want, refused before their parser has read them byte by byte."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import Request

from adapter.errors import MalformedRequest, TooLarge
from api.forms import MAX_PARTS, opened

PART = b'--XX\r\nContent-Disposition: form-data; name="inputs"\r\n\r\n'


def n_parts(body: bytes) -> int:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def read() -> int:
        headers = [(b"content-type", b"multipart/form-data; boundary=XX")]
        async with opened(
            Request({"type": "http", "method": "POST", "headers": headers, "app": None}, receive)
        ) as form:
            return len(form.multi_items())

    return asyncio.run(read())


def test_as_many_parts_as_may_be() -> None:
    assert n_parts(PART + b"a text\r\n" + PART + b"another\r\n--XX--\r\n") == 2
    with pytest.raises(TooLarge, match="more than 10000 parts"):
        n_parts((PART + b"a text\r\n") * (MAX_PARTS + 1) + b"--XX--\r\n")


def test_what_only_begins_like_a_boundary_is_counted_too() -> None:
    with pytest.raises(TooLarge, match="more than 10000 parts"):
        n_parts(PART + b"\r\n--XXz" * (2 * MAX_PARTS + 1) + b"\r\n--XX--\r\n")


def test_a_part_without_a_head_is_told() -> None:
    with pytest.raises(MalformedRequest, match="the multipart body is damaged"):
        n_parts(b"--XX\r\nno head\r\n\r\na text\r\n--XX--\r\n")
