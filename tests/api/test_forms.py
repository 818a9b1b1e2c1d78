"""Settings in a form: as plain fields or as files, once each."""

from __future__ import annotations

import pytest
from fastapi import Request

from adapter.errors import MalformedRequest, TooLarge, Unprocessable
from api import forms
from api.requests import read_adapt, read_classify, read_export, read_queries
from tests.api.test_budgets import File, form, read, rows, sent

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


@pytest.mark.parametrize("name", ["archive", "vectors", "labels", "ttl_seconds", "meta_model", "adaptation", "name"])
def test_what_nobody_filled_in_is_left_out(name: str) -> None:
    """A browser sends all elements of its form: of a file an empty name and no bytes, of others no text."""
    for untouched in ("", None):
        parts: list[File] = [("support[c]", ("", b"")), *SUPPORT, ("inputs", ("", b"")), QUERY]
        given, asked = read(read_classify, browser(*parts, ("top_k", (untouched, b""))))
        assert ([p.label for p in given.support], len(asked), asked.top_k) == (["a", "b"], 1, 5)
        given = read(read_adapt, browser(*SUPPORT, (name, (untouched, b""))))
        assert given == read(read_adapt, form(*SUPPORT))
        assert read(read_queries, browser(QUERY, ("version", (untouched, b"")))).version is None


def test_an_empty_text_is_an_input() -> None:
    empty: list[File] = [(name, (None, b"")) for name in ("support[a]", "support[b]", "inputs")]
    given, asked = read(read_classify, form(*empty))
    assert [p.content for p in [*given.support, *asked.payloads]] == ["", "", ""]
    with pytest.raises(Unprocessable, match="unknown part 'nmae'"):
        read(read_adapt, form(*SUPPORT, ("nmae", (None, b""))))


def test_an_empty_file_and_one_without_a_name_are_inputs() -> None:
    """Left out, nobody would be told which example is wrong."""
    given = read(read_adapt, browser(*SUPPORT, ("support[c]", ("c.png", b"")), ("support[d]", ("", b"z")))).support
    assert [(p.pointer, p.content) for p in given[2:]] == [("support[c] c.png", b""), ("support[d]", b"z")]


def test_queries_are_called_as_their_files() -> None:
    asked = read(read_queries, form(QUERY, ("inputs", ("q.png", b"x")), ("inputs", ("two.npy", rows(2)))))
    assert asked.ids == [None, "q.png", "two.npy", "two.npy"]


def browser(*files: File) -> Request:
    """A form whose parts have the filename "" where that is given, which httpx leaves out."""
    lines = [
        b'--XX\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
        % (name.encode(), b"" if file_name is None else b'; filename="%b"' % file_name.encode(), content)
        for name, (file_name, content) in files
    ]
    return sent(b"".join(lines) + b"--XX--\r\n", "multipart/form-data; boundary=XX")


def test_labels_without_vectors_are_read_by_nobody() -> None:
    with pytest.raises(Unprocessable, match="part labels comes with part vectors"):
        read(read_adapt, form(*SUPPORT, ("labels", (None, b'["a"]'))))


@pytest.mark.parametrize("name", ["archive", "vectors"])
def test_many_inputs_come_as_a_file(name: str) -> None:
    with pytest.raises(Unprocessable, match="must be a file") as told:
        read(read_adapt, form(*SUPPORT, (name, (None, b"x"))))
    assert told.value.code == "not_a_file"


def test_inputs_of_another_request_are_refused() -> None:
    with pytest.raises(Unprocessable, match=r"unknown part 'queries\[a\]'"):
        read(read_adapt, form(*SUPPORT, ("queries[a]", (None, b"x"))))
    with pytest.raises(Unprocessable, match="unknown part 'archive'"):
        read(read_queries, form(QUERY, ("archive", ("a.zip", b"x"))))


@pytest.mark.parametrize(
    ("name", "value", "pointer"),
    [
        ("adaptation", b'{"inner_steps": "many"}', "/adaptation/inner_steps"),
        ("webhook", b'{"ulr": "https://example.com"}', "/webhook/ulr"),
        ("ttl_seconds", b"long", "/ttl_seconds"),
    ],
)
def test_a_setting_that_cannot_be_is_named(name: str, value: bytes, pointer: str) -> None:
    with pytest.raises(Unprocessable) as told:
        read(read_adapt, form(*SUPPORT, (name, (None, value))))
    assert pointer in [error.get("pointer") for error in told.value.errors]


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "many", "9" * 17])
def test_how_many_scores_is_a_whole_number(given: str) -> None:
    with pytest.raises(Unprocessable, match="top_k must be a whole number from 1"):
        read(read_queries, form(QUERY, ("top_k", (None, given.encode()))))


def test_a_setting_is_a_short_text(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MalformedRequest, match="part 'name' is not UTF-8"):
        read(read_adapt, form(*SUPPORT, ("name", ("f.txt", b"\xff"))))
    monkeypatch.setattr(forms, "MAX_FIELD", 4)
    with pytest.raises(TooLarge, match="part 'name' has more than 4 bytes"):
        read(read_adapt, form(*SUPPORT, ("name", ("f.txt", b"12345"))))
