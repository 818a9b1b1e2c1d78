"""Settings in a form: as plain fields or as files, once each."""

from __future__ import annotations

import pytest

from adapter.errors import MalformedRequest, TooLarge, Unprocessable
from api import forms
from api.requests import read_adapt, read_classify, read_export, read_queries
from tests.api.test_budgets import File, form, read, rows

SUPPORT: list[File] = [("support[a]", (None, b"x")), ("support[b]", (None, b"y"))]
QUERY: File = ("inputs", (None, b"z"))


@pytest.mark.parametrize("file_name", [None, "blob"])
def test_a_setting_is_a_plain_field_or_a_file(file_name: str | None) -> None:
    """A browser sends a Blob of JSON in a FormData as a file."""

    def setting(name: str, value: str) -> File:
        return (name, (file_name, value.encode()))

    given = read(
        read_adapt,
        form(
            *SUPPORT,
            setting("name", "Grüße"),
            setting("ttl_seconds", "600"),
            setting("adaptation", '{"inner_steps": 3}'),
            setting("webhook", '{"url": "https://example.com/x"}'),
        ),
    ).options
    assert (given.name, given.ttl_seconds, given.adaptation.inner_steps) == ("Grüße", 600, 3)
    assert given.webhook
    assert given.webhook.url == "https://example.com/x"
    asked = read(read_queries, form(QUERY, setting("top_k", "2"), setting("version", "latest")))
    assert (asked.top_k, asked.version) == (2, "latest")
    assert read(read_export, form(setting("format", "onnx"))).format == "onnx"


@pytest.mark.parametrize("name", ["name", "meta_model", "ttl_seconds", "adaptation", "webhook", "labels", "vectors"])
def test_a_setting_of_an_adaptation_stands_once(name: str) -> None:
    array: list[File] = [("vectors", ("v.npy", rows(1))), ("labels", (None, b'["a"]'))]
    with pytest.raises(Unprocessable, match=f"part {name} stands once, found [23]") as told:
        read(read_adapt, form(*array, (name, (None, b"1")), (name, (None, b"2"))))
    assert told.value.errors[0]["pointer"] == name


def test_a_setting_of_a_query_stands_once() -> None:
    one: File = ("top_k", (None, b"1"))
    for reader, parts in ((read_queries, [QUERY]), (read_classify, [*SUPPORT, QUERY])):
        assert read(reader, form(*parts, QUERY, one))
        with pytest.raises(Unprocessable, match="part top_k stands once"):
            read(reader, form(*parts, one, one))
    with pytest.raises(Unprocessable, match="part format stands once"):
        read(read_export, form(("format", (None, b"onnx")), ("format", (None, b"safetensors"))))


def test_what_a_name_of_a_part_cannot_carry_is_read_from_its_escape() -> None:
    """httpx writes a quotation mark as browsers and curl do."""
    sent = ['say "hi"', "a\nb\rc", "50%", "%2F%41%0d"]
    parts: list[File] = [(f"support[{label}]", (None, b"x")) for label in sent]
    assert [p.label for p in read(read_adapt, form(*parts)).support] == sent


def test_labels_without_vectors_are_read_by_nobody() -> None:
    with pytest.raises(Unprocessable, match="part labels comes with part vectors"):
        read(read_adapt, form(*SUPPORT, ("labels", (None, b'["a"]'))))


def test_a_setting_is_a_short_text(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MalformedRequest, match="part 'name' is not UTF-8"):
        read(read_adapt, form(*SUPPORT, ("name", ("f.txt", b"\xff"))))
    monkeypatch.setattr(forms, "MAX_FIELD", 4)
    with pytest.raises(TooLarge, match="part 'name' has more than 4 bytes"):
        read(read_adapt, form(*SUPPORT, ("name", ("f.txt", b"12345"))))
