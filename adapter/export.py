"""Makes what a client takes away: one ONNX graph that classifies by itself, or the adapted tensors as a bundle.

The graph is put together from the published body and head with the adapted tensors as constants, then run
beside the service: where their probabilities differ, nothing is handed out (promise 9).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (onnx has no complete types)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adapter.errors import ExportDiffers
from adapter.models import ModelSpec
from adapter.predictor import Predictions
from adapter.store import Arrays
from meta_models import bundle
from meta_models.catalogue import Published
from meta_models.exported import TOLERANCE, ClassifierAbout, ExportedClassifier, Parity
from meta_models.inputs import Picture, TextSpec
from meta_models.inputs.picture import preprocess
from meta_models.inputs.text import STEP
from meta_models.manifest import BODY_FILE, HEAD_FILE, META_PARAMS_FILE, Calibration, Manifest

if TYPE_CHECKING:
    from onnx import ModelProto

MAX_PROOF_EXAMPLES = 256
"""Support examples that an export is compared on; a larger support set is sampled evenly."""

_CLOSE_CALL = 1e-3
"""A logit this near the rejection threshold may fall on either side of it."""


Classify = Callable[[NDArray[Any]], tuple[NDArray[np.floating[Any]], NDArray[np.bool_]]]
"""(n, *shape) examples to probabilities (n, n_way) and rejected (n,)."""


@dataclass(frozen=True)
class Export:
    """A file and what was measured of it."""

    data: bytes
    parity: Parity


def proof_rows(n_examples: int) -> NDArray[np.int64]:
    """Which support examples an export is compared on: at most `MAX_PROOF_EXAMPLES`, spread over all classes."""
    return np.unique(np.linspace(0, n_examples - 1, min(n_examples, MAX_PROOF_EXAMPLES)).astype(np.int64))


@dataclass(frozen=True)
class Subject:
    """What is exported, and what it must agree with.

    Attributes:
        published: the meta-model that `spec` names.
        model_id, spec, adapted: the model.
        calibration: what the service answers it with.
        inputs: (n, *shape) examples to compare on.
        serve: how the service answers such.
    """

    published: Published
    model_id: str
    spec: ModelSpec
    adapted: Arrays
    calibration: Calibration
    inputs: NDArray[Any]
    serve: Callable[[NDArray[Any]], Predictions]

    def about(self) -> dict[str, Any]:
        """What every kind of export says of itself."""
        return {
            "meta_model": self.spec.meta_model,
            "meta_model_digest": self.published.manifest.files[META_PARAMS_FILE],
            "preprocessing": self.published.manifest.input.portable(),
            "model": self.model_id,
            "digest": self.spec.digest,
            "classes": tuple(c.name for c in self.spec.classes),
            "calibration": self.calibration,
        }


def onnx_classifier(subject: Subject) -> Export:
    """A self-contained classifier; of pictures, one that takes the pixels of one of any size.

    Raises:
        ExportDiffers: its answers are not those of the service.
    """
    from onnx import helper

    about = ClassifierAbout(**subject.about())
    model = _compose(subject, about)
    parity = prove(subject, subject.inputs, ExportedClassifier(model.SerializeToString()))
    if isinstance(about.preprocessing, Picture):
        parity = _take_pixels(model, about.preprocessing, subject, parity)
    helper.set_model_props(model, about.model_copy(update={"parity": parity}).to_metadata())
    return Export(model.SerializeToString(), parity)


def _take_pixels(model: ModelProto, spec: Picture, subject: Subject, parity: Parity) -> Parity:
    """Put what makes an example of a picture into the graph, and compare from the pixels on."""
    from meta_models.pixels_graph import from_pixels, made_up_pictures

    from_pixels(model, spec)
    pictures = list(made_up_pictures())
    examples = np.stack([preprocess(Image.fromarray(pixels), spec) for pixels in pictures])
    classifier = ExportedClassifier(model.SerializeToString())
    seen = prove(subject, examples, lambda _: classifier(pictures))
    worst = float(np.maximum(parity.max_difference, seen.max_difference))
    return parity.model_copy(update={"max_difference": worst, "pictures": len(pictures)})


def safetensors_bundle(subject: Subject) -> Export:
    """The adapted tensors with what they belong to, read back before they are handed out.

    Raises:
        ExportDiffers: read back, they do not answer as the service does.
    """
    about = bundle.BundleAbout(**subject.about(), weights=subject.spec.weights)
    read = bundle.Bundle.load(bundle.dump(about, subject.adapted))
    parity = prove(subject, subject.inputs, read.open(subject.published))
    return Export(bundle.dump(about.model_copy(update={"parity": parity}), subject.adapted), parity)


FORMATS = {"onnx": onnx_classifier, "safetensors": safetensors_bundle}


def prove(subject: Subject, inputs: NDArray[Any], export: Classify) -> Parity:
    """Compare an export's answers with the service's.

    Args:
        subject: what was exported.
        inputs: (n, *shape) examples.
        export: what answers in its place.

    Raises:
        ExportDiffers: a probability differs by more than `TOLERANCE`, or an input is rejected by one alone.
    """
    served, (probabilities, rejected) = subject.serve(inputs), export(inputs)
    worst = float(np.abs(probabilities - served.probabilities).max())
    if not worst <= TOLERANCE:
        raise ExportDiffers(
            f"the export's probabilities differ from the service's by {worst:.2e}, more than {TOLERANCE:.0e}; "
            "nothing was exported"
        )
    clear = np.abs(served.best_logits - subject.calibration.rejection_logit) > _CLOSE_CALL
    if (differs := np.flatnonzero((rejected != served.rejected) & clear)).size:
        raise ExportDiffers(f"the export and the service disagree whether to reject example {differs[0]}")
    return Parity(reference="service", max_difference=worst, tolerance=TOLERANCE, examples=len(inputs))


def _compose(subject: Subject, about: ClassifierAbout) -> ModelProto:
    """Body, head, adapted tensors, temperature and threshold in one graph: inputs → probabilities, rejected."""
    # Imported here: an API process that exports nothing does without.
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    published, manifest = subject.published, subject.published.manifest
    head = onnx.compose.add_prefix(onnx.load(published.folder / HEAD_FILE), "head/")
    if manifest.shares_body:
        body = onnx.load(published.folder / BODY_FILE)
        if isinstance(manifest.input, TextSpec):
            _read_rows(body, manifest.input.max_tokens)
        model = onnx.compose.merge_models(body, head, io_map=[("features", "head/features")])
        graph = model.graph
    else:  # the head reads the inputs themselves
        model, graph = head, head.graph
        graph.node.insert(0, helper.make_node("Identity", ["inputs"], ["head/features"], name="inputs"))
    constants: dict[str, NDArray[Any]] = {f"head/{name}": tensor for name, tensor in subject.adapted.items()}
    constants["temperature"] = np.array(about.calibration.temperature, np.float32)
    constants["rejection_logit"] = np.array(about.calibration.rejection_logit, np.float32)
    constants["best/axes"] = np.array([1], np.int64)
    graph.initializer.extend(numpy_helper.from_array(np.ascontiguousarray(t), name) for name, t in constants.items())
    graph.node.extend(
        [
            helper.make_node("Div", ["head/logits", "temperature"], ["scaled"], name="scaled"),
            helper.make_node("Softmax", ["scaled"], ["probabilities"], name="probabilities", axis=-1),
            helper.make_node("ReduceMax", ["head/logits", "best/axes"], ["best"], name="best", keepdims=0),
            helper.make_node("Less", ["best", "rejection_logit"], ["rejected"], name="rejected"),
        ]
    )
    # The body keeps its shapes: without them ONNX Runtime fuses less of it than in the service, and rounds otherwise.
    weights = {tensor.name for tensor in graph.initializer}
    shapes = [v for v in graph.value_info if not v.name.startswith("head/") and v.name not in weights]
    for field in ("input", "output", "value_info"):
        graph.ClearField(field)  # pyright: ignore[reportArgumentType]
    graph.value_info.extend(shapes)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(manifest.input.dtype))
    shape = ["n", *(subject.spec.input_shape or manifest.input.shape)]
    graph.input.append(helper.make_tensor_value_info("inputs", kind, shape))
    graph.output.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(about.classes)]))
    graph.output.append(helper.make_tensor_value_info("rejected", TensorProto.BOOL, ["n"]))
    graph.name = f"{about.meta_model} adapted"
    model.doc_string = _describe(manifest)
    model.producer_name = "innerloop"
    helper.set_model_props(model, about.to_metadata())
    onnx.checker.check_model(model, full_check=True)
    return model


def _read_rows(body: ModelProto, max_tokens: int) -> None:
    """Let an encoder read whole rows: of each the text, as long as the longest, padded as the service does it."""
    from onnx import TensorProto, helper, numpy_helper

    graph = body.graph
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == "inputs":
                node.input[place] = "texts"
    constants = {
        "row/none": np.array(0, np.int32),
        "row/first": np.array([0], np.int64),
        "row/axis": np.array([1], np.int64),
        "row/text": np.array([max_tokens], np.int64),
        "row/step": np.array([STEP], np.int64),
        "row/almost": np.array([STEP - 1], np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    made = [
        helper.make_node("Slice", ["inputs", "row/first", "row/text", "row/axis"], ["row/texts"]),
        helper.make_node("Greater", ["row/texts", "row/none"], ["row/is_token"]),
        helper.make_node("Cast", ["row/is_token"], ["row/counts"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["row/counts", "row/axis"], ["row/lengths"], keepdims=0),
        helper.make_node("ReduceMax", ["row/lengths"], ["row/longest"], keepdims=1),
        helper.make_node("Add", ["row/longest", "row/almost"], ["row/more"]),
        helper.make_node("Div", ["row/more", "row/step"], ["row/steps"]),
        helper.make_node("Mul", ["row/steps", "row/step"], ["row/padded"]),
        helper.make_node("Slice", ["row/texts", "row/first", "row/padded", "row/axis"], ["texts"]),
    ]
    for place, node in enumerate(made):
        node.name = f"row/{place}"
        graph.node.insert(place, node)
    graph.input[0].type.tensor_type.shape.dim[1].dim_param = "row"


def _describe(manifest: Manifest) -> str:
    shape = "×".join(map(str, manifest.input.shape))
    kind = np.dtype(manifest.input.dtype).name
    takes, unlike = f"`inputs` are read as metadata_props['innerloop.preprocessing'] says, {kind} n×{shape}", "unlike"
    if isinstance(manifest.input, Picture):
        takes = (
            "`pixels` is one decoded picture, uint8 height×width×3: RGB, deeper grey scaled to eight bits, upright, "
            "transparency laid on white, or on black where what is drawn is light"
        )
        unlike = "blank, or unlike"
    return (
        f"Few-shot classifier adapted from {manifest.reference} by Innerloop. {takes}; column i of `probabilities` is "
        f"class i of metadata_props['innerloop.classes']; `rejected` is true where an input is {unlike} every class."
    )
