"""From torch to ONNX, without a trace of the machine that did it."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Sequence

import onnx
import onnxruntime
import torch
from torch import nn

OPSET = 20
"""Operator set of every graph here: body and head of one meta-model are put together in exports."""
IR_VERSION = 10
"""Of the files."""


def to_onnx(
    source: nn.Module | torch.export.ExportedProgram,
    example: tuple[object, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: dict[str, object] | None = None,
) -> onnx.ModelProto:
    """A graph with named inputs and outputs.

    Args:
        source: a module, traced on `example`, or what was traced already.
        example: arguments of the module.
        inputs, outputs: names in the graph.
        dynamic: by argument, axis and name of every size that is left open; a traced program has its own.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports that torchvision is absent, each time
    for optimizer in ("onnx_ir", "onnxscript"):  # they report every node, once torch has set up logging
        logging.getLogger(optimizer).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            source,
            example,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic,
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    assert program is not None  # noqa: S101 - dynamo's exporter always returns one
    model = program.model_proto
    model.ir_version = IR_VERSION
    forget_origin(model)
    return model


def computed_once(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with what it computes of its weights alone done beforehand, where convolutions are among that."""
    weights = {tensor.name for tensor in model.graph.initializer}
    if all(node.input[1] in weights for node in model.graph.node if node.op_type == "Conv"):
        return model
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = f"{folder}/graph.onnx"
        onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        made = onnx.load(options.optimized_model_filepath)
    used = {node.domain for node in made.graph.node}
    for opset in [opset for opset in made.opset_import if opset.domain not in used]:  # ONNX Runtime names all it knows
        made.opset_import.remove(opset)
    return made


def forget_origin(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes of each node: stack traces with the paths of this machine."""
    for function in model.functions:
        _forget(function.node)
    _forget(model.graph.node)
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]


def _forget(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        del node.metadata_props[:]
        node.ClearField("doc_string")
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                _forget(graph.node)
