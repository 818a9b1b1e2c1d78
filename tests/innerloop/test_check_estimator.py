"""Every check that scikit-learn has for classifiers of tables, against a real server; then what people do with one."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from innerloop import FewShotClassifier
from innerloop.embedded import Embedded
from innerloop.estimator import NotFittedError
from meta_models.exported import ExportedClassifier

# The estimator works without scikit-learn, so it cannot inherit from its base; the checks run all the same.
NO_BASE = "Estimator FewShotClassifier does not inherit"
pytestmark = pytest.mark.filterwarnings(f"ignore:{NO_BASE}")

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", NO_BASE)
    CHECKS = [check for _, check in estimator_checks_generator(FewShotClassifier(), mark="skip")]


def name_of(check: object) -> str:
    return str(getattr(check, "func", check).__name__)


@pytest.fixture
def classifier(server: Embedded) -> FewShotClassifier:
    return FewShotClassifier(url=server.url)


@pytest.mark.parametrize("number", range(len(CHECKS)), ids=[name_of(check) for check in CHECKS])
def test_scikit_learn_check(number: int, classifier: FewShotClassifier) -> None:
    checks = list(estimator_checks_generator(classifier, mark="skip"))
    assert len(checks) == len(CHECKS)
    estimator, check = checks[number]
    check(estimator)


def test_there_are_as_many_checks_as_ever() -> None:
    assert len(CHECKS) > 45


@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_in_cross_validation_a_pipeline_and_a_grid(load, classifier: FewShotClassifier) -> None:
    rows, labels = load(return_X_y=True)
    few = np.concatenate([np.flatnonzero(labels == c)[:20] for c in range(3)])
    scores = cross_val_score(classifier, rows[few], labels[few], cv=4)
    assert scores.mean() > 0.85
    piped = make_pipeline(StandardScaler(), classifier).fit(rows[few], labels[few])
    assert piped.score(rows, labels) > 0.85
    grid = GridSearchCV(classifier, {"meta_model": ["vector-prototype", "auto"]}, cv=2).fit(rows[few], labels[few])
    assert grid.best_score_ > 0.8


def test_partial_fit_keeps_what_came_before(classifier: FewShotClassifier) -> None:
    rows, labels = load_wine(return_X_y=True)
    classifier.partial_fit(rows[:100:5], labels[:100:5]).partial_fit(rows[100::5], labels[100::5])
    assert classifier.model_id_ == FewShotClassifier(url=classifier.url).fit(rows[::5], labels[::5]).model_id_
    assert list(classifier.classes_) == [0, 1, 2]
    with pytest.raises(ValueError, match="12 features"):
        classifier.partial_fit(rows[:2, :12], labels[:2])


def test_partial_fit_takes_vectors_in_every_form(classifier: FewShotClassifier) -> None:
    """And tells those that they cannot join."""
    rows, labels = load_iris(return_X_y=True)
    rows, labels = rows[::10], labels[::10]
    whole = FewShotClassifier(url=classifier.url).fit(rows, labels)
    mappings = [{"vector": row.tolist()} for row in rows]
    parts = classifier.partial_fit(mappings[:6], labels[:6]).partial_fit(rows[6:9], labels[6:9])
    parts.partial_fit(mappings[9:], labels[9:])
    assert (parts.model_id_, parts.classes_.tolist()) == (whole.model_id_, whole.classes_.tolist())
    with pytest.raises(ValueError, match="3 features"):
        parts.partial_fit(rows[:2, :3], labels[:2])
    parts.fit(["where is my parcel?", "give me my money back"], [0, 1])
    with pytest.raises(ValueError, match="those before are no vectors"):
        parts.partial_fit(rows, labels)


def test_dates_are_no_numbers(classifier: FewShotClassifier) -> None:
    """Alone as little as beside numbers, although numpy makes nanoseconds of them."""
    days = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=4)})
    with pytest.raises(ValueError, match=r"these are datetime64\[.s\]"):
        classifier.fit(days, [0, 0, 1, 1])


def test_lists_arrays_and_labels_of_every_kind(classifier: FewShotClassifier) -> None:
    rows, labels = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[labels]
    ids = {
        form: classifier.fit(given, names[::10]).model_id_
        for form, given in {
            "array": rows[::10],
            "float32": rows[::10].astype(np.float32),
            "lists": rows[::10].tolist(),
            "rows": list(rows[::10]),
        }.items()
    }
    assert len(set(ids.values())) == 1, ids
    assert classifier.predict(rows[:3]).tolist() == ["setosa"] * 3
    assert (classifier.fit(rows[::10], labels[::10] == 0).predict(rows[:3])).tolist() == [True] * 3
    assert classifier.rejected(rows).shape == (150,)


def test_export_and_from_model(classifier: FewShotClassifier, tmp_path: Path) -> None:
    rows, labels = load_iris(return_X_y=True)
    classifier.fit(rows[::10], labels[::10])
    exported = ExportedClassifier(classifier.export(tmp_path / "iris.onnx"))
    here, _ = exported(np.stack([exported.read(row) for row in rows[:7]]))
    order = [exported.classes.index(str(c)) for c in classifier.classes_]
    np.testing.assert_allclose(here[:, order], classifier.predict_proba(rows[:7]), atol=1e-5)
    again = FewShotClassifier.from_model(classifier.model_id_, url=classifier.url)
    np.testing.assert_array_equal(again.predict_proba(rows), classifier.predict_proba(rows))


def test_what_cannot_be_done_says_so(classifier: FewShotClassifier) -> None:
    rows = np.eye(4)
    with pytest.raises(NotFittedError, match="not fitted") as caught:
        classifier.predict(rows)
    assert isinstance(caught.value, SklearnNotFittedError)
    with pytest.raises(ValueError, match="at least 2 classes"):
        classifier.fit(rows, [1, 1, 1, 1])
    with pytest.raises(ValueError, match="Unknown label type"):
        classifier.fit(rows, np.array([1, "1", 2, 2], dtype=object))
    with pytest.raises(ValueError, match="NaN"):
        classifier.fit(np.full((4, 4), np.nan), [0, 0, 1, 1])


def test_labels_to_score_by_are_one_a_row(classifier: FewShotClassifier) -> None:
    """numpy would compare a column, or a single label, with every answer."""
    rows, labels = load_iris(return_X_y=True)
    accuracy = classifier.fit(rows[::10], labels[::10]).score(rows, labels)
    assert accuracy > 0.8
    assert classifier.score(rows, labels[:, None]) == classifier.score(rows, labels.tolist()) == accuracy
    for wrong in (labels[:1], labels[:-1], labels[None], 0):
        with pytest.raises(ValueError, match="one label a row is needed, found 150 rows and labels"):
            classifier.score(rows, wrong)


def test_without_scikit_learn(classifier: FewShotClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same answers, and tables checked all the same."""
    rows, labels = load_iris(return_X_y=True)
    expected = classifier.fit(rows[::10], labels[::10]).predict(rows)
    for module in ("sklearn", "sklearn.utils.validation", "sklearn.utils.multiclass", "sklearn.exceptions"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    plain = FewShotClassifier(url=classifier.url)
    with pytest.raises(NotFittedError):
        plain.predict(rows)
    np.testing.assert_array_equal(plain.fit(rows[::10], labels[::10]).predict(rows), expected)
    assert plain.n_features_in_ == 4
    for wrong, message in [(rows[:, :3], "4 are expected"), (rows[0], "two axes"), (rows * np.inf, "NaN or infinity")]:
        with pytest.raises(ValueError, match=message):
            plain.predict(wrong)
    with pytest.raises(ValueError, match="one label a row"):
        plain.fit(rows, labels[:3])
