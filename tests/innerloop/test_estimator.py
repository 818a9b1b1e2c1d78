"""The estimator against a real server, alone and inside scikit-learn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from innerloop import Client, FewShotClassifier
from innerloop.client.errors import TooFewClasses, UndecodableImage, Unprocessable
from innerloop.embedded import Embedded
from innerloop.estimator import NotFittedError
from meta_models.exported import ExportedClassifier
from tests.drawings import encoded, png, sketch

N_WAY, N_SHOT = 4, 3


def pictures(first: int, examples: range = range(N_SHOT)) -> list[Image.Image]:
    return [sketch(first + way, shot) for way in range(N_WAY) for shot in examples]


LABELS = np.repeat(["ka", "ga", "ma", "na"], N_SHOT)


@pytest.fixture
def classifier(server: Embedded) -> FewShotClassifier:
    return FewShotClassifier(url=server.url)


def test_fit_then_predict(classifier: FewShotClassifier) -> None:
    assert classifier.fit(pictures(5000), LABELS) is classifier
    assert list(classifier.classes_) == ["ga", "ka", "ma", "na"]
    queries = pictures(5000, range(100, 102))
    answers = classifier.predict(queries)
    assert list(answers) == ["ka", "ka", "ga", "ga", "ma", "ma", "na", "na"]
    proba = classifier.predict_proba(queries)
    assert proba.shape == (8, N_WAY)
    np.testing.assert_allclose(proba.sum(1), 1)
    assert list(classifier.classes_[proba.argmax(1)]) == list(answers)
    assert classifier.score(queries, answers) == 1.0
    assert classifier.score(queries, ["ga", *answers[1:]]) == 7 / 8
    assert classifier.score(queries[:2], ["ga", "ka"], sample_weight=[1, 3]) == 0.75


def test_every_form_of_picture_is_the_same(classifier: FewShotClassifier, tmp_path: Path) -> None:
    held = pictures(5010)
    arrays = [np.asarray(picture) for picture in held]
    paths = []
    for i, picture in enumerate(held):
        paths.append(tmp_path / f"{i}.png")
        picture.save(paths[-1])
    forms = {
        "Pillow": held,
        "bytes": [encoded(picture) for picture in held],
        "paths": paths,
        "text paths": [str(path) for path in paths],
        "uint8": np.stack(arrays),
        "channels": np.stack(arrays)[..., None].repeat(3, axis=3),
        "floats": np.stack(arrays) / 255,
    }
    ids = {form: classifier.fit(given, LABELS).model_id_ for form, given in forms.items()}
    assert len(set(ids.values())) == 1, ids


def test_labels_come_back_as_they_were(classifier: FewShotClassifier) -> None:
    numbers = np.repeat([30, 4, 100, 7], N_SHOT)
    answers = classifier.fit(pictures(5020), numbers).predict(pictures(5020, range(50, 51)))
    assert answers.dtype == numbers.dtype
    assert list(answers) == [30, 4, 100, 7]
    assert list(classifier.classes_) == [4, 7, 30, 100]


@pytest.mark.parametrize("dtype", [None, object, "category"])
def test_columns_of_a_data_frame(classifier: FewShotClassifier, dtype: str | None) -> None:
    """Of texts and labels, whatever the rows are numbered by."""
    texts = ["where is my parcel?", "give me my money back", "it never came", "I want a refund"]
    names = ["late", "refund", "late", "refund"]
    frame = pd.DataFrame({"text": pd.Series(texts, dtype=dtype), "label": names}).set_index(pd.Index([7, 3, 9, 5]))
    classifier.fit(frame["text"], frame["label"])
    listed = FewShotClassifier(url=classifier.url).fit(texts, names)
    assert classifier.model_id_ == listed.model_id_
    assert list(classifier.predict(frame["text"])) == list(listed.predict(texts))
    np.testing.assert_array_equal(classifier.predict_proba(frame["text"]), listed.predict_proba(texts))
    assert classifier.score(frame["text"], frame["label"]) == listed.score(texts, names)
    assert classifier.rejected(frame["text"]).shape == (4,)
    parts = FewShotClassifier(url=classifier.url).partial_fit(frame["text"][:2], frame["label"][:2])
    assert parts.partial_fit(frame["text"][2:], frame["label"][2:]).model_id_ == listed.model_id_


def test_partial_fit_keeps_what_came_before(classifier: FewShotClassifier) -> None:
    held = pictures(5030)
    classifier.partial_fit(held[:6], LABELS[:6]).partial_fit(held[6:], LABELS[6:])
    assert classifier.model_id_ == FewShotClassifier(url=classifier.url).fit(held, LABELS).model_id_
    assert classifier.model_["classes"] == [{"name": n, "examples": N_SHOT} for n in ("ga", "ka", "ma", "na")]


def test_from_model(classifier: FewShotClassifier) -> None:
    classifier.fit(pictures(5040), LABELS)
    again = FewShotClassifier.from_model(classifier.model_id_, url=classifier.url)
    queries = pictures(5040, range(60, 62))
    np.testing.assert_array_equal(again.predict_proba(queries), classifier.predict_proba(queries))
    with pytest.raises(NotFittedError, match="from_model"):
        again.partial_fit(queries[:1], ["ka"])


def test_labels_of_another_kind_are_not_all_wrong(classifier: FewShotClassifier) -> None:
    rows, labels = np.repeat([[0.0, 1], [5, 6]], 3, axis=0) + np.eye(6, 2), np.repeat([0, 1], 3)
    assert classifier.fit(rows, labels).score(rows, labels) == 1
    again = FewShotClassifier.from_model(classifier.model_id_, url=classifier.url)
    with pytest.raises(ValueError, match="found str and int; make all of them texts"):
        again.score(rows, labels)
    assert again.score(rows, labels.astype(str)) == 1


def test_a_table_of_another_width_is_forgotten(classifier: FewShotClassifier) -> None:
    three, names = np.repeat([[0.0, 1, 2], [5, 6, 7]], 2, axis=0) + np.eye(4, 3), ["a", "a", "b", "b"]
    narrow = three[:, :2]
    classifier.fit(three, names).fit([{"vector": row} for row in narrow.tolist()], names)
    taken = FewShotClassifier.from_model(classifier.model_id_, url=classifier.url)
    for one in (classifier, taken):
        with pytest.raises(Unprocessable, match="have 3 dimensions"):
            one.predict(three)
        assert list(one.predict(narrow)) == names


def test_what_others_add_changes_no_answer(classifier: FewShotClassifier, tmp_path: Path) -> None:
    """The same examples are one model to the server, which somebody else may teach another class."""
    tables = np.random.default_rng(0).normal(size=(N_WAY * N_SHOT, 6)) + 9 * np.repeat(np.eye(N_WAY, 6), N_SHOT, 0)
    for held in (pictures(5055), tables):
        classifier.fit(held, LABELS)
        taken = FewShotClassifier.from_model(classifier.model_id_, url=classifier.url)
        before, rejected = classifier.predict_proba(held), classifier.rejected(held)
        exported = classifier.export(tmp_path / "before.onnx").read_bytes()
        with Client(classifier.url) as client:
            client.add_examples(classifier.model_id_, [("new", held[0]), ("newer", held[5])])
            assert client.model(classifier.model_id_)["version"] == 2
        again = FewShotClassifier(url=classifier.url).fit(held, LABELS)
        grown = FewShotClassifier.from_model(classifier.model_id_, url=classifier.url)
        for same in (classifier, taken, again):
            np.testing.assert_array_equal(same.predict_proba(held), before)
            np.testing.assert_array_equal(same.rejected(held), rejected)
        assert classifier.export(tmp_path / "after.onnx").read_bytes() == exported
        assert grown.predict_proba(held).shape[1] == N_WAY + 2


def test_export(classifier: FewShotClassifier, tmp_path: Path) -> None:
    classifier.fit(pictures(5050), LABELS)
    exported = ExportedClassifier(classifier.export(tmp_path / "letters.onnx"))
    queries = pictures(5050, range(70, 71))
    here, _ = exported(np.stack([exported.read(encoded(picture)) for picture in queries]))
    order = [exported.classes.index(name) for name in classifier.classes_]
    np.testing.assert_allclose(here[:, order], classifier.predict_proba(queries), atol=1e-5)


def test_in_cross_validation_a_pipeline_and_a_grid(classifier: FewShotClassifier) -> None:
    held = np.stack([np.asarray(picture) for picture in pictures(5060, range(4))])
    labels = np.repeat(["ka", "ga", "ma", "na"], 4)
    assert is_classifier(classifier)
    scores = cross_val_score(classifier, held, labels, cv=2)
    assert scores.shape == (2,)
    assert scores.mean() > 0.9
    assert cross_val_score(classifier, list(held), labels, cv=2).tolist() == scores.tolist()
    inverted = Pipeline([("invert", FunctionTransformer(lambda x: 255 - x)), ("classify", classifier)])
    assert (inverted.fit(held, labels).predict(held) == labels).all()
    grid = GridSearchCV(classifier, {"meta_model": ["omniglot-protonet", "omniglot-maml"]}, cv=2).fit(held, labels)
    assert grid.best_params_["meta_model"].startswith("omniglot-")


def test_params_and_clone(classifier: FewShotClassifier) -> None:
    classifier.set_params(meta_model="omniglot-maml", inner_steps=2, api_key="secret")
    twin = clone(classifier)
    assert twin.get_params() == classifier.get_params()
    assert not hasattr(twin, "model_id_")
    assert "secret" not in repr(twin)
    assert repr(FewShotClassifier()) == "FewShotClassifier()"
    assert "inner_steps=2" in repr(twin)
    with pytest.raises(ValueError, match="no parameter 'inner_step'"):
        classifier.set_params(inner_step=2)


def test_what_cannot_be_done_says_so(classifier: FewShotClassifier) -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        classifier.predict([png(1, 1)])
    with pytest.raises(TooFewClasses, match="at least 2 classes"):
        classifier.fit([png(1, 1)], ["a"])
    with pytest.raises(UndecodableImage, match=r"1 of 2 examples") as caught:
        classifier.fit([png(1, 1), b"\x89torn"], ["a", "b"])
    assert caught.value.errors[0]["pointer"].startswith("/support/1/")
    with pytest.raises(ValueError, match="found 2 inputs and 1 labels"):
        classifier.fit([png(1, 1), png(2, 1)], ["a"])
    with pytest.raises(ValueError, match="more than one reads '1'"):
        classifier.fit([png(1, 1), png(2, 1)], np.array([1, "1"], dtype=object))
    classifier.fit([png(5070, 0), png(5071, 0)], ["a", "b"])
    with pytest.raises(ValueError, match=r"1 of 2 inputs cannot be classified:\n  input 1: undecodable_image"):
        classifier.predict([png(5070, 1), b"\x89torn"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([("a", 1), ("b", 2)], r"label 0 is \('a', 1\); join its parts"),
        ([("a", 1), ("b",)], "a label is a single value"),
        (["a", None], "label 1 is missing"),
        (["a", pd.NA], "label 1 is missing"),
        ([pd.NaT, pd.Timestamp(0)], "label 0 is missing"),
        ([np.float32("nan"), 1], "label 0 is missing"),
        ([1, "b"], "labels are of one kind, found str and int"),
        ([float("nan"), "b"], "label 0 is missing"),
        ([object(), object()], "can be sorted"),
        ("ab", r"labels come as a list, found one str; put it in brackets: \['ab'\]"),
    ],
)
def test_labels_that_are_none(labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FewShotClassifier().fit(["one", "other"], labels)


def test_labels_of_rows_that_are_none() -> None:
    with pytest.raises(ValueError, match="label 1 is missing"):
        FewShotClassifier().fit(np.eye(2), ["a", None])
    with pytest.raises(ValueError, match="labels are of one kind"):
        FewShotClassifier().fit(np.eye(2), [1, "b"])
    with pytest.raises(ValueError, match="1d array"):
        FewShotClassifier().fit(np.eye(2), [("a", 1), ("b", 2)])


def test_one_text_is_no_list(classifier: FewShotClassifier) -> None:
    """Python would take it for its characters."""
    with pytest.raises(ValueError, match="inputs come as a list, found one str"):
        classifier.fit("ab", ["a", "b"])
    classifier.fit(["where is my parcel?", "give me my money back"], ["late", "refund"])
    for ask in (classifier.predict, classifier.predict_proba, classifier.rejected):
        for one in ("it never came", b"it never came", Path("it never came.txt")):
            with pytest.raises(ValueError, match="put it in brackets"):
                ask(one)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((2, 3, 4, 5), np.uint8), "pixels are"),
        (np.full((8, 8), 16.0), "divide by the largest value"),
        (np.full((8, 8), np.nan), "divide by the largest value"),
        (np.zeros((8, 8), np.int64), r"astype\('uint8'\)"),
        (np.full((8, 8), 300, np.uint16), "uint16; divide by the largest value"),
    ],
)
def test_arrays_that_are_no_pictures(given: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FewShotClassifier().fit([given, given], ["a", "b"])
    with pytest.raises(TypeError, match="not int"):
        FewShotClassifier().fit([1, 2], ["a", "b"])


def test_importing_the_client_is_light() -> None:
    """Neither torch nor FastAPI nor the server; scikit-learn, Pillow and ONNX Runtime only where they are used."""
    program = "import sys, innerloop; print(sorted(m.split('.')[0] for m in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "fastapi", "api", "adapter", "meta_models", "onnxruntime", "sklearn", "PIL", "redis"):
        assert f"'{heavy}'" not in loaded
