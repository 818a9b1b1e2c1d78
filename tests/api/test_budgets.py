"""What one request may cost, however many parts, numbers and pictures it comes in."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import zipfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

import httpx
import msgpack
import numpy as np
import pytest
from fastapi import Request
from PIL import Image

from adapter.config import Settings
from adapter.errors import TooLarge, Unprocessable
from api import archives, arrays, decode, forms, packed, structured
from api.arrays import labelled_rows, load_body, spread
from api.decode import Decoder, Payload
from api.requests import read_adapt, read_classify, read_queries
from api.schemas_requests import MAX_ITEMS
from meta_models.inputs import DrawingSpec, UnreadableInput
from meta_models.inputs.vector import MAX_DIMENSIONS, load_npy
from tests.drawings import encoded, sketch
from tests.vectors import npy

Found = TypeVar("Found")
File = tuple[str, tuple[str | None, bytes]]

NPY, JSON, MSGPACK = "application/x-npy", "application/json", "application/msgpack"


def sent(body: bytes, media_type: str) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", media_type.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}, receive)


def form(*files: File) -> Request:
    made = httpx.Request("POST", "http://x/", files=files)
    return sent(made.read(), made.headers["content-type"])


def read(reader: Callable[[Request], Awaitable[Found]], request: Request) -> Found:
    async def reading() -> Found:
        return await reader(request)

    return asyncio.run(reading())


def rows(n: int) -> bytes:
    return npy(np.ones((n, 2), np.float32))


def body_of(body: object, media_type: str) -> Request:
    packed_body: Any = msgpack.packb(body)
    return sent(json.dumps(body).encode() if media_type == JSON else packed_body, media_type)


def archive(*names: str, size: int = 0) -> tuple[str, bytes]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in names:
            made.writestr(name, bytes(size))
    return "a.zip", file.getvalue()


def rows_of_nothing(n: int) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (n, 0)})
    return file.getvalue()


@pytest.mark.parametrize("n", [1, 2**40])
def test_rows_of_nothing_are_no_vectors(n: int) -> None:
    with pytest.raises(UnreadableInput) as told:
        load_npy(rows_of_nothing(n))
    assert told.value.code == "bad_vector"
    for refused in (load_body, lambda data: labelled_rows(data, b"[]")):
        with pytest.raises(Unprocessable) as answered:
            refused(rows_of_nothing(n))
        assert answered.value.code == "bad_vector"
    assert len(spread(Payload(rows_of_nothing(n), "inputs[0]"))) == 1


def test_nothing_is_made_for_each_row_of_a_body_before_they_are_counted() -> None:
    batch = read(read_queries, sent(npy(np.zeros((5, 1), np.uint8)), NPY))
    assert batch.ids is None
    assert len(batch) == len(list(batch.each_id)) == 5


def test_archives_share_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    a, b = (("archive", archive(f"{name}/1", size=600)) for name in "ab")
    assert len(read(read_adapt, form(a)).support) == 1
    with pytest.raises(TooLarge) as told:
        read(read_adapt, form(a, b))
    assert told.value.code == "archive_too_large"


CROWDS: dict[str, tuple[Callable[[Request], Awaitable[object]], Sequence[File]]] = {
    "arrays": (read_adapt, [("support[a]", ("a.npy", rows(3))), ("support[b]", ("b.npy", rows(3)))]),
    "an array and its labels": (
        read_adapt,
        [
            ("support[a]", ("a.npy", rows(3))),
            ("vectors", ("v.npy", rows(3))),
            ("labels", ("l.json", json.dumps(["a"] * 3).encode())),
        ],
    ),
    "archives": (read_adapt, [("archive", archive(*(f"{name}/{i}" for i in range(3)))) for name in "ab"]),
    "files": (read_adapt, [("support[a]", ("a.png", b"x"))] * 6),
    "texts": (read_adapt, [("support[a]", (None, b"x"))] * 6),
    "queries": (read_queries, [("inputs", ("a.npy", rows(3)))] * 2),
    "queries that are texts": (read_queries, [("inputs", (None, b"x"))] * 6),
    "queries beside a support set": (
        read_classify,
        [("support[a]", ("a.npy", rows(3))), ("inputs", ("b.npy", rows(3)))],
    ),
}


@pytest.mark.parametrize("name", CROWDS)
def test_all_parts_share_their_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, files = CROWDS[name]
    read(reader, form(*files))
    monkeypatch.setattr(arrays, "MAX_ROWS", 5)
    with pytest.raises(TooLarge) as told:
        read(reader, form(*files))
    assert told.value.code == "too_many_inputs"
    assert "at most 5" in str(told.value)


def test_labels_are_read_for_one_array() -> None:
    files: list[File] = [("vectors", ("v.npy", rows(1))), ("labels", ("l.json", b'["a"]'))]
    assert len(read(read_adapt, form(*files)).support) == 1
    with pytest.raises(Unprocessable, match="stands once"):
        read(read_adapt, form(files[0], *files))


def test_of_wrong_labels_the_first_is_told() -> None:
    with pytest.raises(Unprocessable) as told:
        labelled_rows(rows(1), b"[1, 2, 3]")
    cause: Any = told.value.__cause__
    assert cause.error_count() == 1


@pytest.mark.parametrize("media_type", [JSON, MSGPACK])
def test_a_vector_longer_than_an_array_may_be_is_told_before_it_is_one(media_type: str) -> None:
    """Each shorter one gets its own error from whoever reads it."""
    bodies = [{"inputs": [{"vector": [1] * n}]} for n in (MAX_DIMENSIONS + 1, MAX_ITEMS + 1)]
    assert len(read(read_queries, body_of(bodies[0], media_type))) == 1
    with pytest.raises(TooLarge, match=f"(at most|more than) {MAX_ITEMS} items") as told:
        read(read_queries, body_of(bodies[1], media_type))
    assert told.value.code == "body_too_large"
    assert [error.get("pointer") for error in told.value.errors] == ["/inputs/0/vector"] * (media_type == JSON)


@pytest.mark.parametrize("media_type", [JSON, MSGPACK])
def test_arrays_and_maps_are_counted(media_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (packed, structured):
        monkeypatch.setattr(module, "MAX_COLLECTIONS", 4)
    bodies = [{"inputs": [{"vector": [1.0]}, *more]} for more in ([], [{}])]
    fits, full = (body_of(body, media_type) for body in bodies)
    assert len(read(read_queries, fits)) == 1
    with pytest.raises(TooLarge, match="more than 4 arrays") as told:
        read(read_queries, full)
    assert told.value.code == "body_too_large"


def test_names_and_texts_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that nobody asked for take memory before they are refused."""
    monkeypatch.setattr(structured, "MAX_QUOTES", 10)
    fits, full = (body_of({"inputs": [{"vector": [1.0]}], **more}, JSON) for more in ({}, {"a": "", "b": "", "c": ""}))
    assert len(read(read_queries, fits)) == 1
    with pytest.raises(TooLarge, match="more than 5 names") as told:
        read(read_queries, full)
    assert told.value.code == "body_too_large"


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("part", ["JSON", "MessagePack", "rows", "labelled rows"])
def test_much_is_read_beside_the_event_loop(part: str, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    where: list[threading.Thread] = []

    def seen(work: Callable[..., Found]) -> Callable[..., Found]:
        return lambda *given: where.append(threading.current_thread()) or work(*given)

    for module, name in ((structured, "_validated"), (forms, "spread"), (forms, "labelled_rows")):
        monkeypatch.setattr(module, name, seen(getattr(module, name)))
    if large:
        monkeypatch.setattr(structured, "LARGE", 0)
        monkeypatch.setattr(forms, "LARGE_PART", 0)
    body = {"inputs": [{"vector": [0.5]}]}
    if part == "JSON":
        read(read_queries, body_of(body, JSON))
    elif part == "MessagePack":
        read(read_queries, body_of(body, MSGPACK))
    elif part == "rows":
        read(read_queries, form(("inputs", ("a.npy", rows(3)))))
    else:
        read(read_adapt, form(("vectors", ("v.npy", rows(1))), ("labels", ("l.json", b'["a"]'))))
    assert [thread is threading.main_thread() for thread in where] == [not large]


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    made = Decoder(Settings(max_image_pixels=10_000), helpers=0)
    yield made
    made.close()


def test_pictures_share_their_pixels(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MOST_AT_ONCE", 2)
    whole, small = (encoded(sketch(1, 0, side)) for side in (100, 50))
    wide = encoded(Image.new("1", (101, 100)))
    files = [b"", wide, small, whole, b"no picture", small, small, whole, small]
    found = decoder.each([Payload(file, "") for file in files], DrawingSpec())
    told = {i: one for i, one in enumerate(found) if isinstance(one, UnreadableInput)}
    assert {i: one.code for i, one in told.items()} == {
        0: "empty_image",
        1: "image_too_large",
        4: "undecodable_image",
        7: "image_too_large",
        8: "image_too_large",
    }
    assert "101x100" in str(told[1])
    assert "the pictures of this request have more than 20000 pixels together" in str(told[8])
    assert told[8].status == 413
    assert not any(isinstance(one, UnreadableInput) for one in decoder.each([Payload(whole, "")] * 2, DrawingSpec()))
