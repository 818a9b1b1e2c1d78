"""Runs a published meta-model's ONNX graphs. No torch: this is what the API, exports and reported accuracy use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from meta_models.inputs import InputSpec, TextSpec
from meta_models.inputs.text import by_length
from meta_models.manifest import BODY_FILE, HEAD_FILE, Calibration, Manifest, read_manifest
from meta_models.measures import softmax

Features = NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.int16]
"""The body's output; the pre-processed inputs themselves where there is no shared body. Of a support set also
(n, 1 + v, d), with v views each."""

Arrays = dict[str, NDArray[np.float32]]
"""Adapted tensors, by the names of the head's graph inputs."""

_CHUNK, _VECTOR_CHUNK = 32, 256
"""Pictures and vectors per run: enough to fill a core's vector units, small enough to stay in its cache."""

_REGISTERS = 64
"""Numbers at the end of an array that may be computed in another way than the others."""


class ServedModel:
    """A published meta-model ready to predict with any set of adapted tensors. Safe to share between threads."""

    def __init__(self, folder: Path, manifest: Manifest | None = None) -> None:
        """Verify the folder and open its graphs.

        Raises:
            ManifestError: a file is missing or is not the published one.
        """
        self.folder = folder
        self.manifest = manifest or read_manifest(folder)
        self._body = BodyGraph(folder / BODY_FILE, self.manifest.input).opened() if self.manifest.shares_body else None
        self._head = graph_session(folder / HEAD_FILE)
        # Every request asks for it, and models have few sizes.
        self.calibration_for = lru_cache(self.manifest.calibration_for)

    @property
    def shares_body(self) -> bool:
        return self._body is not None

    def features(self, inputs: NDArray[Any]) -> Features:
        """(n, *shape) to what `logits` reads; each row depends on its own input alone."""
        return inputs if self._body is None else self._body(inputs)

    def logits(self, adapted: Arrays, features: Features) -> NDArray[np.float32]:
        """Query features to logits (n_query, n_way), in the adapted tensors' order of classes."""
        if isinstance(self.manifest.input, TextSpec):
            features = features[:, 0]  # the text's; a query has no class name
        return _in_chunks(self._head, adapted, "features", features)


def run_body(
    body: ort.InferenceSession, spec: InputSpec, inputs: NDArray[Any], *, padded: bool = True
) -> NDArray[np.float32]:
    """(n, *shape) through the graph of a shared body; of texts (n, 2, n_features), each with its class name."""
    if isinstance(spec, TextSpec):
        return np.stack([_embed(body, part) for part in spec.parts(inputs)], axis=1)
    return _in_chunks(body, {}, "inputs", inputs, padded=padded)


@dataclass(frozen=True)
class BodyGraph:
    """The graph of a shared body; opened when it is first run."""

    path: Path
    spec: InputSpec

    def opened(self) -> Self:
        """Itself, ready to run."""
        _ = self._padded
        return self

    def __call__(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """`run_body`."""
        return run_body(self._session, self.spec, inputs, padded=self._padded)

    @cached_property
    def _session(self) -> ort.InferenceSession:
        return graph_session(self.path)

    @cached_property
    def _padded(self) -> bool:
        """False where an input's features are the same to the bit alone, before another and behind one, as those of
        convolutions are on a CPU: padding would double what one query costs."""
        if isinstance(self.spec, TextSpec) or self._session.get_providers() != ["CPUExecutionProvider"]:
            return True
        pair = self.spec.examples(np.random.default_rng(0), np.arange(2))
        runs = [_run(self._session, {"inputs": rows}) for rows in (pair, pair[::-1], pair[:1], pair[1:])]
        first = np.stack([runs[0][0], runs[1][1], runs[2][0]])
        second = np.stack([runs[0][1], runs[1][0], runs[3][0]])
        return bool((first != first[0]).any() or (second != second[0]).any())


def probabilities(logits: NDArray[np.float32], calibration: Calibration) -> NDArray[np.float64]:
    """Softmax at the calibrated temperature: (n, n_way), rows sum to 1."""
    return softmax(logits, calibration.temperature)


def cpu_session(source: Path | bytes) -> ort.InferenceSession:
    """One thread, on the CPU wherever it runs: what exports are checked and used with."""
    return graph_session(source, ("CPUExecutionProvider",))


def graph_session(
    source: Path | bytes, wanted: tuple[str, ...] = ("CUDAExecutionProvider", "CPUExecutionProvider")
) -> ort.InferenceSession:
    """One thread, on a GPU where ONNX Runtime has one: what the service runs graphs with."""
    options = ort.SessionOptions()
    # One thread per run: with the pool's default the 99th percentile is five times the median.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    available = ort.get_available_providers()
    model = source if isinstance(source, bytes) else str(source)
    return ort.InferenceSession(model, options, providers=[p for p in wanted if p in available])


def _in_chunks(
    session: ort.InferenceSession, fixed: Arrays, name: str, rows: NDArray[Any], *, padded: bool = True
) -> NDArray[np.float32]:
    """Run `rows` a chunk at a time, each with padding behind it: a query's answer must not depend on its company.

    A one-row matrix product takes another code path than one of many rows, and the last few numbers of an array another
    than those that fill a vector register, both with another rounding. So no query is alone, and none is last.
    A text is many rows of such a product by itself, each of whole registers.
    """
    parts: list[NDArray[np.float32]] = []
    is_text = rows.dtype == np.int32
    chunk = _VECTOR_CHUNK if rows.ndim == 2 and not is_text else _CHUNK
    n_padding = 0 if is_text or not padded else -(-_REGISTERS // math.prod(rows.shape[1:]))
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        together = np.concatenate([part, np.repeat(part[-1:], n_padding, axis=0)])
        parts.append(_run(session, {**fixed, name: together})[: len(part)])
    return np.concatenate(parts)


def _run(session: ort.InferenceSession, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    return np.asarray(session.run(None, inputs)[0])


def _embed(session: ort.InferenceSession, ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """(n, length) token ids to (n, n_features), zeros where there are no tokens.

    Texts of one length go together, and one that comes often, such as a class name, is read once.
    """
    distinct, which = np.unique(ids, axis=0, return_inverse=True)
    found = np.zeros((len(distinct), session.get_outputs()[0].shape[1]), np.float32)
    for length, rows in by_length(distinct):
        if length:
            found[rows] = _in_chunks(session, {}, "inputs", distinct[rows, :length])
    return found[which.ravel()]
