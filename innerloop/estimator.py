"""`FewShotClassifier`: a server seen as a scikit-learn estimator. scikit-learn itself is not needed.

FewShotClassifier().fit(pictures, labels).predict(more_pictures)
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from innerloop import tables
from innerloop.client.clients import DEFAULT_URL, Client
from innerloop.client.inputs import contents, listed_inputs
from innerloop.client.vector_flows import VectorAnswers
from innerloop.labels import check_apart, check_one_kind, each_once, paired

if TYPE_CHECKING:
    from innerloop.client.inputs import Inputs


class NotFittedError(ValueError, AttributeError):
    """Call `fit` first, or take an existing model by `from_model`."""


class FewShotClassifier:
    """Adapts a meta-model to labelled pictures, sounds, texts or vectors and classifies others.

    Pictures are encoded bytes, paths, Pillow images or arrays of pixels, (height, width[, channels]) each; sounds are
    encoded bytes, paths, or pairs of samples (n_samples[, channels]) and their number a second. Texts are strings, or
    `{"text": …}` where they may name a file, and what their labels say counts too. Vectors are the rows of a table, (n,
    n_features): embeddings of a model of yours, or measurements. Inputs and labels come as lists, arrays or columns of
    a data frame. Labels are strings, numbers or other single values that can be sorted and that their `str` tells
    apart; `predict` gives them back as they were.

    Args:
        meta_model: a published name or alias, or "auto" for the one that suits these examples; None takes the server's
            default for the kind of input.
        inner_steps, inner_lr: of the inner loop; None takes the meta-model's.
        name: of the model, for people.
        ttl_seconds: life of the model; None takes the server's default.
        url: of the server.
        api_key: where the server wants one.
        progress: a bar while predicting; None shows it for large batches on a terminal.

    Attributes:
        classes_: (n_way,) labels, sorted; the columns of `predict_proba`.
        model_id_: id of the adapted model.
        model_version_: its version that was fitted or taken, and is asked: whoever fits the same examples shares the
            model, and may add to it.
        model_: what the server says of it.
        n_features_in_: of the vectors fitted on.
    """

    _estimator_type = "classifier"

    def __init__(
        self,
        meta_model: str | None = None,
        *,
        inner_steps: int | None = None,
        inner_lr: float | None = None,
        name: str | None = None,
        ttl_seconds: int | None = None,
        url: str = DEFAULT_URL,
        api_key: str | None = None,
        progress: bool | None = None,
    ) -> None:
        self.meta_model = meta_model
        self.inner_steps = inner_steps
        self.inner_lr = inner_lr
        self.name = name
        self.ttl_seconds = ttl_seconds
        self.url = url
        self.api_key = api_key
        self.progress = progress

    @classmethod
    def from_model(cls, model_id: str, **params: Any) -> Self:
        """An estimator of a model that exists; its labels are strings.

        Args:
            model_id: of a ready model.
            params: of the constructor, such as `url`.
        """
        made = cls(**params)
        with made._client() as client:
            model = client.model(model_id)
        made._adopt(model, np.array(sorted(c["name"] for c in model["classes"])), model["version"])
        return made

    def fit(self, X: Inputs, y: Iterable[Any]) -> Self:  # noqa: N803
        """Adapt to inputs `X` with labels `y`, at least two classes; earlier examples are forgotten.

        Raises:
            ValueError: lengths differ, a label is missing or is several values, or two have the same `str`.
            InnerloopHTTPError: the server refuses; the message names each example.
        """
        if tables.is_table(X):
            return self._fit_vectors(*tables.checked_pair(self, X, y, reset=True))
        inputs, labels = paired(X, y)
        return self._fit(inputs, labels)

    def partial_fit(
        self,
        X: Inputs,  # noqa: N803
        y: Iterable[Any],
        classes: Sequence[Any] | None = None,
    ) -> Self:
        """Adapt to these examples and all that came before, from the start: nothing old is damaged.

        Args:
            X: inputs, of the kind of those before.
            y: labels; new ones are welcome.
            classes: accepted for scikit-learn's sake; classes come from the labels.

        Raises:
            NotFittedError: the model was taken by `from_model`, so its examples are not here.
        """
        before = getattr(self, "_examples", None)
        if hasattr(self, "model_id_") and before is None:
            raise NotFittedError("the examples of a model taken by from_model are not here; fit a new one")
        if tables.is_table(X):
            if before is None:
                return self._fit_vectors(*tables.checked_pair(self, X, y, reset=True))
            rows, known = tables.rows_of(before[0]), np.asarray(before[1])
            self.n_features_in_ = rows.shape[1]
            vectors, names = tables.checked_pair(self, X, y, reset=False)
            check_one_kind([*known.tolist(), *names.tolist()])
            return self._fit_vectors(np.concatenate([rows, vectors]), np.concatenate([known, names]))
        kept, known = before or ([], [])
        inputs, labels = paired(X, y)
        return self._fit([*kept, *inputs], [*known, *labels])

    def predict(self, X: Inputs) -> NDArray[Any]:  # noqa: N803
        """(n,) most probable label of each input, rejected or not; see `rejected`."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]

    def predict_proba(self, X: Inputs) -> NDArray[np.float64]:  # noqa: N803
        """(n, n_way) calibrated probabilities, columns as `classes_`.

        Raises:
            ValueError: an input cannot be read; the message names each.
        """
        self._check_fitted()
        if tables.is_table(X):
            answers = self._ask_vectors(X)
            order = [list(answers.classes).index(str(label)) for label in self.classes_]
            return answers.probabilities[:, order].astype(np.float64)
        results = self._ask(X)
        columns = {str(label): i for i, label in enumerate(self.classes_)}
        found = np.zeros((len(results), len(columns)))
        for row, result in zip(found, results, strict=True):
            for score in result["scores"]:
                row[columns[score["label"]]] = score["probability"]
        return found

    def rejected(self, X: Inputs) -> NDArray[np.bool_]:  # noqa: N803
        """(n,) true where an input is unlike every class."""
        self._check_fitted()
        if tables.is_table(X):
            return self._ask_vectors(X).rejected
        return np.array([result["rejected"] for result in self._ask(X)], dtype=bool)

    def score(
        self,
        X: Inputs,  # noqa: N803
        y: Iterable[Any],
        sample_weight: Sequence[float] | None = None,
    ) -> float:
        """Accuracy on labelled inputs; `ValueError` where there is not a label for each, of the kind of `classes_`."""
        if not tables.is_table(X):
            X, y = paired(X, y)  # noqa: N806
        answers = self.predict(X)
        labels = tables.one_a_row(y, len(answers))
        check_one_kind([*self.classes_[:1].tolist(), *labels.tolist()])
        return float(np.average(answers == labels, weights=sample_weight))

    def export(self, path: str | Path, format: Literal["onnx", "safetensors"] = "onnx") -> Path:
        """Write the model as a file that answers as the server does; returns its path."""
        self._check_fitted()
        with self._client() as client:
            data = client.export(self.model_id_, format, version=self.model_version_)
        Path(path).write_bytes(data)
        return Path(path)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters of the constructor, as scikit-learn asks for them."""
        return {name: getattr(self, name) for name in self._params()}

    def set_params(self, **params: Any) -> Self:
        """Change parameters of the constructor; they count from the next `fit`.

        Raises:
            ValueError: there is no such parameter.
        """
        for name, value in params.items():
            if name not in self._params():
                raise ValueError(f"no parameter {name!r}; there are {', '.join(self._params())}")
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn wants to know: a classifier, of tables and of pictures."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            transformer_tags=None,
            regressor_tags=None,
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=True, three_d_array=True, string=True),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_id_")

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        shown = {n: v for n, v in self.get_params().items() if v != defaults[n].default}
        if "api_key" in shown:
            shown["api_key"] = "…"
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @classmethod
    def _params(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def _client(self) -> Client:
        return Client(self.url, self.api_key)

    def _fit(self, inputs: list[Any], labels: list[Any]) -> Self:
        encoded = list(contents(inputs))
        check_apart(labels)
        classes = each_once(labels)
        # As the array has them: a list of 1 and "b" becomes an array of text.
        named = [str(label) for label in np.asarray(labels)]
        with self._client() as client:
            model = client.adapt(list(zip(named, encoded, strict=True)), **self._options())
        self._adopt(model, classes)
        self._examples = (encoded, labels)
        vars(self).pop("n_features_in_", None)  # of a table fitted before
        return self

    def _fit_vectors(self, vectors: NDArray[Any], labels: NDArray[Any]) -> Self:
        check_apart(labels.tolist())
        classes = np.unique(labels)
        if len(classes) < 2:
            raise ValueError(f"at least 2 classes are needed, found 1 class: {classes[0]!r}")
        with self._client() as client:
            model = client.adapt_vectors(vectors, [str(label) for label in labels], **self._options())
        self._adopt(model, classes)
        self._examples = (vectors, labels)
        return self

    def _options(self) -> dict[str, Any]:
        names = ("meta_model", "name", "inner_steps", "inner_lr", "ttl_seconds")
        return {name: getattr(self, name) for name in names}

    def _ask_vectors(self, X: Any) -> VectorAnswers:  # noqa: N803
        is_known = hasattr(self, "n_features_in_")
        vectors = tables.checked(self, X, reset=not is_known)
        if not is_known:
            del self.n_features_in_  # what is asked says nothing of the model, of which the server knows
        with self._client() as client:
            answers = client.predict_vectors(
                self.model_id_, vectors, version=self.model_version_, progress=self.progress
            )
        if (broken := np.flatnonzero(answers.errors != "")).size:
            first = f"row {broken[0]}: {answers.errors[broken[0]]}"
            raise ValueError(f"{broken.size} of {len(vectors)} rows cannot be classified, the first is {first}")
        return answers

    def _adopt(self, model: dict[str, Any], classes: NDArray[Any], version: int = 1) -> None:
        """What was adapted to is always a model's first version."""
        self.model_, self.model_id_, self.model_version_, self.classes_ = model, str(model["id"]), version, classes

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_id_"):
            message = "this FewShotClassifier is not fitted yet: call fit, or take a model by from_model"
            raise tables.not_fitted(NotFittedError, message)

    def _ask(self, X: Inputs) -> list[dict[str, Any]]:  # noqa: N803
        self._check_fitted()
        inputs = listed_inputs(X)
        with self._client() as client:
            results = client.predict(
                self.model_id_,
                inputs,
                top_k=len(self.classes_),
                version=self.model_version_,
                progress=self.progress,
            )
        errors = [
            f"input {i}: {r['error']['code']}: {r['error']['detail']}" for i, r in enumerate(results) if "error" in r
        ]
        if errors:
            shown = "\n  ".join(errors[:5])
            raise ValueError(f"{len(errors)} of {len(results)} inputs cannot be classified:\n  {shown}")
        return results
