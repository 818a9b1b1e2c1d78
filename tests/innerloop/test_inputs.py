"""What the client makes of what it is given, against prepared answers: texts, files, numbers, and none of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from innerloop import Client, FewShotClassifier
from innerloop.cli import examples
from innerloop.client import read_folder
from innerloop.client.inputs import as_content, names_file
from tests.drawings import png, sketch
from tests.local_server import listening
from tests.vectors import npy

ANSWER = {"id": "mdl_1", "status": "ready", "version": 1, "unreadable": []}

HALF = "no \ud800"


class Said:
    """Answers everything with a ready model, and `results` if there are any; the bodies it was sent."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.bodies: list[Any] = []
        self.paths: list[str] = []

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        self.paths.append(path)
        self.bodies.append(json.loads(body) if body[:1] == b"{" else body)
        return 200, {}, json.dumps({**ANSWER, "results": self.results}).encode()


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def client(said: Said) -> Iterator[Client]:
    with listening(said.answer) as port, Client(f"http://127.0.0.1:{port}") as made:
        yield made


def test_a_text_that_is_said_to_be_one_is_no_file(client: Client, said: Said, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("of nobody else")
    named = {"text": str(secret)}
    client.predict("mdl_1", [named, str(secret)])
    client.adapt([("a", named), ("b", named)])
    client.add_examples("mdl_1", [("a", named)])
    client.evaluate("mdl_1", iter([("a", named)]))
    client.classify([("a", named)], [named])
    assert said.bodies[0]["inputs"] == [named, {"text": "of nobody else"}]
    assert "nobody" not in json.dumps(said.bodies[1:])
    assert json.dumps(said.bodies).count(str(secret)) == 7


def test_a_classifier_never_looks_it_up_either(client: Client, said: Said) -> None:
    """Although it reads its inputs before the client does."""
    classifier = FewShotClassifier(url=str(client._http.base_url))
    classifier.fit([{"text": __file__}, {"text": "hello"}], ["a", "b"])
    classifier.partial_fit([{"text": "there"}], ["a"])
    assert [one["input"]["text"] for one in said.bodies[1]["support"]] == [__file__, "hello", "there"]


def test_numbers_are_a_vector(client: Client, said: Said) -> None:
    client.predict("mdl_1", [np.array([1.5, 2.0]), [1, 2], {"vector": [3, 4.5]}, np.array([1, 2], np.uint8)])
    assert said.bodies[0]["inputs"] == [{"vector": v} for v in ([1.5, 2.0], [1, 2], [3, 4.5], [1, 2])]
    client.predict("mdl_1", pd.DataFrame({"x": [1.0, 3.0], "y": [2.0, 4.0]}))
    client.predict("mdl_1", np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert [body["inputs"] for body in said.bodies[1:]] == [[{"vector": [1.0, 2.0]}, {"vector": [3.0, 4.0]}]] * 2
    client.evaluate("mdl_1", [("a", np.ones(2))])
    assert said.bodies[-1]["queries"] == [{"label": "a", "input": {"vector": [1.0, 1.0]}}]


def test_a_file_without_a_vector_has_an_error_of_its_own(client: Client, said: Said) -> None:
    """The others are asked about."""
    whole = npy([1.0, 2.0])
    wrong = {whole[:9]: "undecodable_vector", npy(np.array(["a"])): "bad_vector", npy(np.eye(2)): "bad_vector"}
    for broken, code in wrong.items():
        said.results = [{"label": "a"}, {"label": "b"}]
        results = client.predict("mdl_1", [whole, broken, whole])
        assert [one.get("label") for one in results] == ["a", None, "b"]
        assert (results[1]["error"]["code"], results[1]["error"]["status"]) == (code, 422)
        assert said.bodies[-1]["inputs"] == [{"vector": [1.0, 2.0]}] * 2
    n_asked = len(said.bodies)
    assert [one["error"]["code"] for one in client.predict("mdl_1", list(wrong))] == list(wrong.values())
    torn = next(iter(wrong))
    with pytest.raises(ValueError, match=r"example 1: not a \.npy file of numbers"):
        client.adapt([("a", whole), ("b", torn)])
    with pytest.raises(ValueError, match=r"input 2: not a \.npy file of numbers"):
        client.evaluate("mdl_1", [("a", whole)] * 2 + [("b", torn)], batch=1)
    assert len(said.bodies) == n_asked + 2


def test_numbers_of_numpy_are_numbers(client: Client, said: Said) -> None:
    support = list(zip(np.array([3, 4]), ["hello", "bye"], strict=True))
    settings: dict[str, Any] = {
        "inner_steps": np.int64(3),
        "inner_lr": np.float32(0.5),
        "ttl_seconds": np.int32(60),
    }
    client.adapt(support, **settings)
    client.adapt_vectors(np.eye(2), np.array([3, 4]), **settings)
    client.predict("mdl_1", ["hello"], top_k=np.int64(2), version=np.int64(1))  # type: ignore[arg-type]
    adapted, form, asked = said.bodies
    assert [one["label"] for one in adapted["support"]] == ["3", "4"]
    assert (adapted["adaptation"], adapted["ttl_seconds"]) == ({"inner_steps": 3, "inner_lr": 0.5}, 60)
    assert b'["3", "4"]' in form
    assert b'{"inner_steps": 3, "inner_lr": 0.5}' in form
    assert (asked["top_k"], asked["version"]) == (2, 1)


@pytest.mark.parametrize("name", ["my drawing.png", "a b.JPG", "two words.wav", "x y.heic", "a.pdf", "a.csv", "a.txt"])
def test_what_ends_like_a_file_is_one(client: Client, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"input 1: No such file or directory: '{name}'"):
        client.predict("mdl_1", ["hello", name])


@pytest.mark.parametrize(
    "text",
    [
        *("see notes.txt", "the file was invoice.pdf", "one\ntwo.png", "Mr. png", "a" * 300, "a\0/b"),
        *("我的快递还没有到" * 20, "да/" + "й" * 200, "й" * 200 + " a.csv"),  # more bytes than a name may have
    ],
)
def test_what_only_speaks_of_files_is_a_text(text: str) -> None:
    assert not names_file(text)
    assert as_content(text) == text
    assert examples.given([text])[0].content == text


def test_a_long_label_is_no_file(client: Client, said: Said) -> None:
    client.adapt([("й" * 150, "hello"), ("b", "bye")])
    assert said.bodies[0]["support"][0]["label"] == "й" * 150


@pytest.mark.parametrize(
    ("dtype", "mode", "words"),
    [(np.int32, "I", r"int32; use .astype\('uint8'\)"), (np.float32, "F", "divide by the largest value")],
)
def test_pictures_of_numbers_are_as_their_arrays(dtype: type, mode: str, words: str) -> None:
    numbers = np.asarray(sketch(1, 1)).astype(dtype)
    picture = Image.fromarray(numbers)
    assert picture.mode == mode
    for given in (picture, numbers):
        with pytest.raises(ValueError, match=words):
            as_content(given)
    share = np.asarray(sketch(1, 1), np.float32) / 255
    assert as_content(Image.fromarray(share)) == as_content(share) == as_content(sketch(1, 1))


def raises(kind: type[Exception], words: str, call: Callable[[Client], Any]) -> Any:
    return pytest.param(kind, words, call, id=words)


@pytest.mark.parametrize(
    ("kind", "words", "call"),
    [
        raises(ValueError, "input 1: pixels are uint8", lambda c: c.predict("m", ["a", np.zeros((4, 4), int)])),
        raises(TypeError, "input 0: an input is bytes", lambda c: c.predict("m", [object()])),
        raises(TypeError, 'input 0: .*{"text": "…"}', lambda c: c.predict("m", [{"words": "a"}])),
        raises(ValueError, "input 0: a vector is numbers", lambda c: c.predict("m", [{"vector": ["a"]}])),
        raises(ValueError, "input 1: character 3 of the text, '.ud800'", lambda c: c.predict("m", ["a", HALF])),
        raises(ValueError, "example 0: character 3", lambda c: c.add_examples("m", [("a", {"text": HALF})])),
        raises(ValueError, "the label of input 1: character 3", lambda c: c.adapt([("a", "b"), (HALF, "c")])),
        raises(ValueError, "example 1: a vector is", lambda c: c.adapt([("a", "b"), ("c", np.array([None]))])),
        raises(ValueError, "inputs come as a list, found one str", lambda c: c.predict("m", "hello")),
        raises(ValueError, "inputs come as a list, found one Image", lambda c: c.predict("m", sketch(1, 1))),
        raises(ValueError, "inputs come as a list, found one dict", lambda c: c.predict("m", {"text": "a"})),
        raises(ValueError, r"one picture \(4, 5\)", lambda c: c.predict("m", np.zeros((4, 5), np.uint8))),
        raises(ValueError, r"one picture \(4, 5, 3\)", lambda c: c.predict("m", np.zeros((4, 5, 3), np.uint8))),
        raises(ValueError, r"one vector \(4,\)", lambda c: c.predict("m", np.zeros(4))),
        raises(ValueError, "found one sound", lambda c: c.classify([("a", "b")], (np.zeros(4), 8000))),
        raises(TypeError, "number 0 is 'ab'", lambda c: c.adapt(["ab", "cd"])),
        raises(TypeError, "number 1 is", lambda c: c.evaluate("m", [("a", "b"), ("a", "b", "c")])),
        raises(TypeError, "found one int", lambda c: c.adapt(3)),
        raises(TypeError, "that of input 1 is None", lambda c: c.adapt([("a", "b"), (None, "c")])),
        raises(TypeError, "that of row 0 is nan", lambda c: c.adapt_vectors(np.eye(2), [np.nan, 1])),
        raises(ValueError, "real numbers, not complex128", lambda c: c.adapt_vectors(1j * np.eye(2), ["a", "b"])),
        raises(ValueError, "real numbers, not complex128", lambda c: c.predict_vectors("mdl_1", 1j * np.eye(2))),
        raises(TypeError, r"found dict; of a model it is model\['id'\]", lambda c: c.delete({"id": "m"})),
        raises(TypeError, "if_match is an ETag, found dict", lambda c: c.delete("m", if_match={"id": "m"})),
        raises(ValueError, "'' is no ETag", lambda c: c.delete("m", if_match="")),
        raises(ValueError, r"'a.nb' is no ETag", lambda c: c.delete("m", if_match="a\nb")),
        raises(ValueError, "größer. is no ETag", lambda c: c.delete("m", if_match="größer")),
        raises(ValueError, "timeout is a number of seconds", lambda c: Client(timeout=None)),
        raises(ValueError, "above 0, not 0", lambda c: Client(timeout=0)),
        raises(ValueError, "tries is at least 1", lambda c: Client(tries=0)),
    ],
)
def test_wrong_calls_are_told(
    client: Client, said: Said, kind: type[Exception], words: str, call: Callable[[Any], Any]
) -> None:
    with pytest.raises(kind, match=words):
        call(client)
    assert not said.bodies


def test_a_folder_may_be_a_string(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(png(1, 1))
    assert read_folder(str(tmp_path)) == [("a", tmp_path / "a" / "1.png")]


def test_a_folder_whose_name_is_no_label_is_named(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path / "caf") + b"\xe9"))
    folder.mkdir()
    (folder / "1.png").write_bytes(png(1, 1))
    with pytest.raises(ValueError, match=r"folder '.*/caf\\udce9' is not UTF-8; rename it"):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["mdl_1/classes/third", "../models", ".", "..", ""])
def test_what_is_no_id_goes_nowhere(client: Client, said: Said, name: str) -> None:
    for call in (client.delete, client.model, client.cancel, client.examples, client.export, client.quality):
        with pytest.raises(ValueError, match="is no id"):
            call(name)
    with pytest.raises(ValueError, match="is no id"):
        client.preview("mdl_1", name)
    with pytest.raises(ValueError, match="is no id"):
        client.predict_vectors(name, np.eye(2))
    assert not said.paths


def test_an_id_is_one_part_of_a_path(client: Client, said: Said) -> None:
    client.delete("mdl_1?x=ü#%2e%2e")
    assert said.paths == ["/v1/models/mdl_1%3Fx%3D%C3%BC%23%252e%252e"]
