"""Makes `body.onnx` of an encoder: what stands before it and behind it, inside one graph.

    inputs → normalised pixels, or token ids with their mask → the encoder → one vector → minus a centre → features

Pictures come as (n, 3, size, size) uint8, texts as (n, length) int32 ids padded with 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, external_data_helper, helper, numpy_helper, version_converter

from meta_models.encoders import EncoderError
from meta_models.encoders.files import EncoderFiles
from meta_models.encoders.reading import Options, Pixels, Pooling, photo_spec, text_pooling, text_spec
from meta_models.inputs import PhotoSpec, TextSpec
from meta_models.onnx_export import IR_VERSION, OPSET, forget_origin
from meta_models.serving import graph_session, run_body

MOST_BYTES = 1900 * 2**20
"""Of graph and weights: a file of this format holds less than 2 GiB."""
DOMAINS = ("", "ai.onnx", "com.microsoft")
"""Operators that ONNX Runtime brings along; others would be code of somebody's own."""
TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
PREFERRED = {
    "image": ("image_embeds", "pooler_output"),
    "text": ("sentence_embedding", "text_embeds", "last_hidden_state"),
}
"""Outputs by the names that exporters give them."""
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
COMPANY = 1e-3
"""Largest difference, as a share of the largest feature, that other rows of a batch may make."""
CENTRE = "back/centre"

Spec = PhotoSpec | TextSpec


@dataclass(frozen=True)
class Body:
    """Attributes:
    graph: from `inputs` to `features`.
    spec: how inputs are read.
    output: of the encoder, which features are made of.
    pooling: how, where it has a vector for each token or place.
    """

    graph: onnx.ModelProto
    spec: Spec
    output: str
    pooling: Pooling

    def centred(self, centre: NDArray[np.float32]) -> Body:
        """The same, `centre` (n_features,) subtracted from all features."""
        graph = onnx.ModelProto()
        graph.CopyFrom(self.graph)
        [old] = [tensor for tensor in graph.graph.initializer if tensor.name == CENTRE]
        old.CopyFrom(numpy_helper.from_array(centre.astype(np.float32), CENTRE))
        return replace(self, graph=graph)


def make_body(files: EncoderFiles, options: Options) -> Body:
    """Read an encoder and put it between what comes before and behind.

    Raises:
        EncoderError: its inputs, outputs or operators are not of the kind that fits; the message says which would.
    """
    encoder = _in_our_version(read_graph(files.model))
    given = _inputs(encoder)
    if set(given) & set(TEXT_INPUTS[:1]):
        spec, padding = text_spec(files, options)
        front = _text_front(given, spec.shift, padding)
        pooling, row = text_pooling(files, options), "length"
    else:
        side = _picture_side(given)
        spec, pixels = photo_spec(files, side, options)
        front = _photo_front(given, pixels)
        pooling, row = options.pooling or "mean", 0
    output = _output(encoder, options.output, PREFERRED[spec.modality])
    graph = onnx.compose.add_prefix(encoder, "encoder/")
    shape = ["n", *spec.shape] if row == 0 else ["n", row]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    for field in ("input", "output"):
        graph.graph.ClearField(field)
    graph.graph.input.append(helper.make_tensor_value_info("inputs", kind, shape))
    for place, node in enumerate(front[0]):
        graph.graph.node.insert(place, node)
    graph.graph.initializer.extend(front[1])
    body = Body(graph, spec, output, pooling)
    rank, n_features = _probe_output(body)
    _add_back(body, rank, n_features)
    return body


def read_graph(path: Path) -> onnx.ModelProto:
    """With weights that lie beside it, in one.

    Raises:
        EncoderError: it is no ONNX, too large, incomplete, or needs code of its own.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own kinds
        raise EncoderError(f"{path.name} is not an ONNX model: {error}") from error
    outside = [t for t in model.graph.initializer if external_data_helper.uses_external_data(t)]
    files = {external_data_helper.ExternalDataInfo(t).location for t in outside}
    for name in files:
        if not (path.parent / name).is_file():
            raise EncoderError(f"the weights of {path.name} are in {name}, which is not beside it")
    n_bytes = sum((path.parent / name).stat().st_size for name in {path.name, *files})
    if n_bytes > MOST_BYTES:
        raise EncoderError(
            f"{path.name} has {n_bytes / 2**20:.0f} MiB with its weights, at most {MOST_BYTES // 2**20} fit into one "
            "file; export it in half precision or in eight bits"
        )
    foreign = {entry.domain for entry in model.opset_import} & {node.domain for node in model.graph.node}
    if foreign := foreign - set(DOMAINS):
        raise EncoderError(f"{path.name} uses operators of {', '.join(sorted(foreign))}, which need code of their own")
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx refuses paths that lead elsewhere
        raise EncoderError(f"the weights beside {path.name} cannot be read: {error}") from error
    forget_origin(model)
    return model


def try_body(path: Path, spec: Spec) -> None:
    """Run a body on made-up examples.

    Raises:
        EncoderError: it fails, gives what is not finite, or a row's features depend on the rows beside it.
    """
    body = _open(path)
    inputs = spec.examples(np.random.default_rng(0), np.arange(7) % 3)
    together = _run(lambda: run_body(body, spec, inputs))
    if not np.isfinite(together).all():
        raise EncoderError("the encoder gives NaN or infinity for made-up inputs: is its normalisation the right one?")
    alone = np.concatenate([_run(lambda one=one: run_body(body, spec, one[None])) for one in inputs])
    worst = float(np.abs(alone - together).max() / max(np.abs(together).max(), 1e-9))
    if worst > COMPANY:
        raise EncoderError(
            f"an input's features change by {worst:.1%} with the inputs beside it: batch statistics, or activations in "
            "eight bits whose scale is the batch's; export it in evaluation mode, with weights alone in eight bits"
        )


def _in_our_version(model: onnx.ModelProto) -> onnx.ModelProto:
    """With the operator set of all graphs here, which exports put together."""
    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), OPSET)
    if version != OPSET:
        try:
            model = version_converter.convert_version(model, OPSET)
        except Exception as error:  # the converter's own kinds
            raise EncoderError(
                f"operator set {version} cannot be turned into {OPSET} ({error}); export it with opset {OPSET}"
            ) from error
    model.ir_version = IR_VERSION
    return model


def _inputs(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    weights = {tensor.name for tensor in model.graph.initializer}
    given = {value.name: value for value in model.graph.input if value.name not in weights}
    for value in given.values():
        sizes = value.type.tensor_type.shape.dim
        if len(sizes) and sizes[0].HasField("dim_value"):
            raise EncoderError(
                f"its input {value.name} takes exactly {sizes[0].dim_value} examples at a time; export it with an open "
                f"first axis (torch.onnx.export: dynamic_shapes or dynamic_axes)"
            )
    return given


def _text_front(
    given: dict[str, onnx.ValueInfoProto], shift: int, padding: int
) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """`inputs` to what the encoder calls them."""
    if set(given) - set(TEXT_INPUTS) or "attention_mask" not in given:
        raise _wrong_inputs(given)
    if any(size.HasField("dim_value") for size in given["input_ids"].type.tensor_type.shape.dim[1:]):
        raise EncoderError("its texts have one fixed length; export it with an open second axis")
    kinds = {name: value.type.tensor_type.elem_type for name, value in given.items()}
    constants = {
        "front/none": np.array(0, np.int32),
        "front/shift": np.array(shift, np.int32),
        "front/padding": np.array(padding, np.int32),
    }
    nodes = [
        helper.make_node("Greater", ["inputs", "front/none"], ["front/is_token"]),
        helper.make_node("Sub", ["inputs", "front/shift"], ["front/shifted"]),
        helper.make_node("Where", ["front/is_token", "front/shifted", "front/padding"], ["front/ids"]),
        helper.make_node("Cast", ["front/ids"], ["encoder/input_ids"], to=kinds["input_ids"]),
        helper.make_node("Cast", ["front/is_token"], ["encoder/attention_mask"], to=kinds["attention_mask"]),
    ]
    if "token_type_ids" in given:
        nodes += [
            helper.make_node("Mul", ["inputs", "front/none"], ["front/types"]),
            helper.make_node("Cast", ["front/types"], ["encoder/token_type_ids"], to=kinds["token_type_ids"]),
        ]
    return nodes, [numpy_helper.from_array(value, name) for name, value in constants.items()]


def _picture_side(given: dict[str, onnx.ValueInfoProto]) -> int | None:
    """That the graph insists on."""
    sizes = [value.type.tensor_type.shape.dim for value in given.values()]
    kinds = [value.type.tensor_type.elem_type for value in given.values()]
    if len(sizes) != 1 or len(sizes[0]) != 4 or kinds[0] not in FLOATS or sizes[0][1].dim_value not in (0, 3):
        raise _wrong_inputs(given)
    sides = {size.dim_value for size in sizes[0][2:] if size.HasField("dim_value")}
    if len(sides) > 1:
        raise EncoderError(f"pictures are square here; the graph takes {' x '.join(map(str, sorted(sides)))}")
    return next(iter(sides), None)


def _photo_front(
    given: dict[str, onnx.ValueInfoProto], pixels: Pixels
) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    [(name, value)] = given.items()
    constants = {"front/scale": pixels.scale, "front/shift": pixels.shift}
    nodes = [
        helper.make_node("Cast", ["inputs"], ["front/pixels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["front/pixels", "front/scale"], ["front/scaled"]),
        helper.make_node("Add", ["front/scaled", "front/shift"], ["front/normalised"]),
        helper.make_node("Cast", ["front/normalised"], [f"encoder/{name}"], to=value.type.tensor_type.elem_type),
    ]
    shaped = {key: np.array(numbers, np.float32).reshape(1, 3, 1, 1) for key, numbers in constants.items()}
    return nodes, [numpy_helper.from_array(array, key) for key, array in shaped.items()]


def _output(model: onnx.ModelProto, wanted: str | None, preferred: Sequence[str]) -> str:
    """The asked one; else the first of `preferred`, else the first with one vector an example, else the first."""
    found = {value.name: value.type.tensor_type for value in model.graph.output}
    if wanted is not None and wanted not in found:
        raise EncoderError(f"it has no output {wanted}; it has {', '.join(found)}")
    flat = [name for name, tensor in found.items() if len(tensor.shape.dim) == 2 and tensor.elem_type in FLOATS]
    return wanted or next((name for name in preferred if name in found), [*flat, *found][0])


def _probe_output(body: Body) -> tuple[int, int]:
    """Rank and number of features of the encoder's output."""
    probe = onnx.ModelProto()
    probe.CopyFrom(body.graph)
    probe.graph.output.append(onnx.ValueInfoProto(name=f"encoder/{body.output}"))
    inputs: NDArray[Any] = body.spec.examples(np.random.default_rng(0), np.arange(3))
    if isinstance(body.spec, TextSpec):
        inputs = inputs[:, :8]
    session = _open(probe.SerializeToString())
    found = np.asarray(_run(lambda: session.run(None, {"inputs": inputs}))[0])
    pooled = {2: 1, 3: 2} if isinstance(body.spec, TextSpec) else {2: 1, 3: 2, 4: 1}
    if found.ndim not in pooled or len(found) != len(inputs) or found.dtype.kind != "f":
        raise EncoderError(
            f"its output {body.output} has shape {found.shape} for {len(inputs)} inputs; a vector for each, or for "
            "each of its tokens or places, is needed (--output names another)"
        )
    return found.ndim, found.shape[pooled[found.ndim]]


def _add_back(body: Body, rank: int, n_features: int) -> None:
    """One vector a row, minus a centre, which is zero for now."""
    graph, out = body.graph.graph, "back/floats"
    nodes = [helper.make_node("Cast", [f"encoder/{body.output}"], [out], to=TensorProto.FLOAT)]
    constants: dict[str, NDArray[Any]] = {CENTRE: np.zeros(n_features, np.float32)}
    if rank == 3 and body.pooling == "first":
        constants["back/first"] = np.array(0, np.int64)
        nodes.append(helper.make_node("Gather", [out, "back/first"], ["back/one"], axis=1))
        out = "back/one"
    elif rank == 3 and isinstance(body.spec, TextSpec):
        constants |= {"back/tokens": np.array([1], np.int64), "back/last": np.array([2], np.int64)}
        nodes += [
            helper.make_node("Cast", ["front/is_token"], ["back/counted"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["back/counted", "back/last"], ["back/mask"]),
            helper.make_node("Mul", [out, "back/mask"], ["back/kept"]),
            helper.make_node("ReduceSum", ["back/kept", "back/tokens"], ["back/sums"], keepdims=0),
            helper.make_node("ReduceSum", ["back/counted", "back/tokens"], ["back/lengths"], keepdims=1),
            helper.make_node("Div", ["back/sums", "back/lengths"], ["back/one"]),
        ]
        out = "back/one"
    elif rank > 2:
        constants["back/places"] = np.array([1] if rank == 3 else [2, 3], np.int64)
        nodes.append(helper.make_node("ReduceMean", [out, "back/places"], ["back/one"], keepdims=0))
        out = "back/one"
    nodes.append(helper.make_node("Sub", [out, CENTRE], ["features"]))
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", n_features]))
    graph.name = "encoder"
    onnx.checker.check_model(body.graph)


def _wrong_inputs(given: dict[str, onnx.ValueInfoProto]) -> EncoderError:
    def shown(value: onnx.ValueInfoProto) -> str:
        tensor = value.type.tensor_type
        sizes = ", ".join(str(size.dim_value or size.dim_param or "?") for size in tensor.shape.dim)
        return f"{value.name} {TensorProto.DataType.Name(tensor.elem_type).lower()} ({sizes})"

    return EncoderError(
        f"its inputs are {'; '.join(map(shown, given.values()))}. An image encoder has one, (n, 3, height, width) of "
        "floats; a text encoder has input_ids and attention_mask, and may have token_type_ids. Where a model has an "
        "encoder of each, name the file of one with --file"
    )


def _open(source: Path | bytes) -> Any:
    return _run(lambda: graph_session(source))


def _run(call: Any) -> Any:
    try:
        return call()
    except Exception as error:  # ONNX Runtime has no common base of its errors
        raise EncoderError(f"ONNX Runtime cannot run it: {error}") from error
