"""Runs exports anywhere, classifiers and graphs that adapt: ONNX Runtime, numpy and Pillow, no server and no torch.

Everything needed is in the file: its `metadata_props` name the classes and how an input becomes the graph's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from meta_models.inputs import Caps, InputSpec, Picture, TextSpec, UnreadableInput
from meta_models.inputs.reading import check_shape
from meta_models.inputs.text import by_length
from meta_models.manifest import Calibration
from meta_models.serving import cpu_session

PREFIX = "innerloop."
"""Of every key that Innerloop writes into `metadata_props`; each value is JSON."""

TOLERANCE = 1e-5
"""Largest difference from the service's probabilities that an exported classifier may show."""

CHUNK = 32


class NotAnExportError(ValueError):
    """The file is no export of the kind asked for; the message says what it is."""


class Parity(BaseModel):
    """What was measured before the file was handed out.

    Attributes:
        max_difference: largest difference of a probability from the reference, over `examples` inputs and `pictures`.
        pictures: how many made-up ones of many sizes were compared from their pixels on, where the graph takes pixels.
    """

    model_config = ConfigDict(frozen=True)

    reference: str
    max_difference: float
    tolerance: float
    examples: int
    pictures: int = 0


class About(BaseModel):
    """What `metadata_props` of every export say."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    meta_model: str
    meta_model_digest: str
    """sha256 of the meta-model's meta_params."""
    preprocessing: InputSpec
    parity: Parity | None = None

    def read(self, content: Any) -> NDArray[Any]:
        """The bytes of a file, or a vector as it is, to one row of the graph's inputs, as the service does it.

        Raises:
            UnreadableInput: what is wrong with it.
        """
        if isinstance(content, str) and self.preprocessing.modality != "text":
            found = "a model's id; without a server there is none to name" if content.startswith("mdl_") else "a text"
            kind = self.preprocessing.modality
            raise UnreadableInput("wrong_modality", f"this model takes {kind} files, not {found}")
        return self.preprocessing.read(content, Caps())

    def to_metadata(self) -> dict[str, str]:
        """Keys with `PREFIX`, values in JSON."""
        return {PREFIX + name: _json(value) for name, value in self.model_dump(mode="json").items()}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> Self:
        """What `to_metadata` wrote.

        Raises:
            NotAnExportError: a key is missing or has another form.
        """
        ours = {k.removeprefix(PREFIX): v for k, v in metadata.items() if k.startswith(PREFIX)}
        try:
            return cls.model_validate({name: _parse(value) for name, value in ours.items()})
        except ValidationError as error:
            kind = _parse(ours["kind"]) if "kind" in ours else "no export of Innerloop"
            wanted = cls.model_fields["kind"].default if "kind" in cls.model_fields else "an export"
            missing = ", ".join(str(finding["loc"][0]) for finding in error.errors()[:3])
            raise NotAnExportError(f"expected {wanted}, this file is {kind} (wrong or missing: {missing})") from error


class AdaptedAbout(About):
    """Of an export of one adapted model.

    Attributes:
        model: its id.
        digest: names meta-model version, settings, examples and labels.
        classes: names, in the order of the columns of probabilities.
        calibration: temperature and rejection threshold that answers are given with.
    """

    model: str
    digest: str
    classes: tuple[str, ...]
    calibration: Calibration


class ClassifierAbout(AdaptedAbout):
    """Of a self-contained ONNX classifier."""

    kind: Literal["classifier"] = "classifier"


class ExportedClassifier:
    """An exported model, ready to classify. Safe to share between threads."""

    def __init__(self, source: Path | bytes) -> None:
        """Open a file, or its bytes.

        Raises:
            NotAnExportError: it is not an exported classifier.
        """
        self._session = open_session(source)
        self._takes = self._session.get_inputs()[0].name
        self.about = ClassifierAbout.from_metadata(metadata_of(self._session))

    @property
    def classes(self) -> tuple[str, ...]:
        return self.about.classes

    def read(self, content: Any) -> NDArray[Any]:
        """The bytes of a file, or a vector as it is, to what the graph takes: a row of `inputs`, or `pixels`.

        Raises:
            UnreadableInput: what is wrong with it, a blank picture included.
        """
        spec = self.about.preprocessing
        if isinstance(content, str) or not (self._takes == "pixels" and isinstance(spec, Picture)):
            row = self.about.read(content)
            check_shape(row.shape, tuple(self._session.get_inputs()[0].shape[1:]))
            return row
        pixels = spec.decode(content, Caps())
        spec.fit(pixels)  # says what is wrong, which a graph cannot
        return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)

    def __call__(self, inputs: NDArray[Any] | Sequence[NDArray[Any]]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """n of what `read` gives to probabilities (n, n_way) and rejected (n,)."""
        if self._takes == "pixels":
            given, back = list(inputs), np.arange(len(inputs))
        else:
            rows = np.asarray(inputs)
            runs = self._runs(rows)
            given, back = [rows[run] for run in runs], np.argsort(np.concatenate(runs))
        asked = [self._session.run(["probabilities", "rejected"], {self._takes: one}) for one in given]
        probabilities, rejected = (np.concatenate([np.asarray(found[i]) for found in asked])[back] for i in (0, 1))
        return probabilities, rejected

    def _runs(self, inputs: NDArray[Any]) -> list[NDArray[np.int64]]:
        """Which rows are run together: few enough, and texts of one length only."""
        spec, together = self.about.preprocessing, [np.arange(len(inputs))]
        if isinstance(spec, TextSpec):
            together = [rows for _, rows in by_length(spec.parts(inputs)[0])]
        return [rows[start : start + CHUNK] for rows in together for start in range(0, len(rows), CHUNK)]


class AdaptingAbout(About):
    """Of a graph that adapts by itself.

    Attributes:
        calibration: entries of which the graph takes the nearest.
        inner_steps, inner_lr: of its inner loop; None where adapting takes no steps.
        max_classes, max_support: most classes and support examples it takes.
    """

    kind: Literal["adapting"] = "adapting"
    calibration: tuple[Calibration, ...]
    inner_steps: int | None
    inner_lr: float | None
    max_classes: int
    max_support: int


class AdaptingClassifier:
    """A graph that takes a support set and queries and runs the inner loop itself. Safe to share between threads."""

    def __init__(self, source: Path | bytes) -> None:
        """Open a file, or its bytes.

        Raises:
            NotAnExportError: it is not an adapting graph.
        """
        self._session = open_session(source)
        self.about = AdaptingAbout.from_metadata(metadata_of(self._session))

    def read(self, content: Any) -> NDArray[Any]:
        """`About.read`: one row of `support` or `queries`."""
        return self.about.read(content)

    def __call__(
        self, support: NDArray[Any], labels: NDArray[np.int64], n_way: int, queries: NDArray[Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Adapt and classify.

        Args:
            support: (n_support, *shape).
            labels: (n_support,) in [0, n_way), each class at least once.
            n_way: number of classes.
            queries: (n_query, *shape).

        Returns:
            Probabilities (n_query, n_way) and rejected (n_query,).

        Raises:
            ValueError: a number of classes or examples that the graph does not take, or a class without examples.
        """
        if not 2 <= n_way <= self.about.max_classes:
            raise ValueError(f"the graph takes 2 to {self.about.max_classes} classes, not {n_way}")
        if len(support) > self.about.max_support:
            raise ValueError(f"the graph takes at most {self.about.max_support} support examples, not {len(support)}")
        counts = np.bincount(labels, minlength=n_way)
        if len(labels) != len(support) or len(counts) > n_way or not counts.all():
            raise ValueError(
                f"labels must give each of {len(support)} examples a class in [0, {n_way}) and each class an example; "
                f"examples a class: {counts.tolist()}"
            )
        given = {"support": support, "labels": labels, "n_way": np.array(n_way, np.int64), "queries": queries}
        found = self._session.run(["probabilities", "rejected"], given)
        return np.asarray(found[0]), np.asarray(found[1])


def open_session(source: Path | bytes) -> ort.InferenceSession:
    """A session on the CPU.

    Raises:
        NotAnExportError: ONNX Runtime cannot read it.
    """
    if isinstance(source, Path) and not source.is_file():
        raise NotAnExportError(f"{source} is no file")
    try:
        return cpu_session(source)
    except Exception as error:  # ONNX Runtime has no common base of its errors
        name = source.name if isinstance(source, Path) else "the data"
        raise NotAnExportError(f"{name} is not an ONNX model: {error}") from error


def metadata_of(session: ort.InferenceSession) -> dict[str, str]:
    return session.get_modelmeta().custom_metadata_map


_ANY = TypeAdapter(object)


def _json(value: object) -> str:
    return _ANY.dump_json(value).decode()


def _parse(text: str) -> object:
    return _ANY.validate_json(text)
