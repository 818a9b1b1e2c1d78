"""A graph a quarter as large: its weights in eight bits, its arithmetic as before."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# (onnx and ONNX Runtime's tools have no complete types)

from __future__ import annotations

import logging

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from meta_models.spread_filters import only_once, spreading

BLOCK = 32
"""Weights that share a scale."""


def with_eight_bit_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Matrix products by ONNX Runtime's MatMulNBits, which rounds each row of activations by itself, so that a text's
    answer does not depend on its company; embedding tables in whole numbers with a scale a row, convolutions with one a
    filter, which become floats again once, when the graph is loaded.
    """
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    logging.getLogger("onnxruntime.quantization").setLevel(logging.CRITICAL)  # a line for each node
    eight = DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=True, accuracy_level=4, bits=8)
    weights = {t.name: t for t in model.graph.initializer}
    no_weights = [  # sums of rows, as products with two columns of ones
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and (node.input[1] not in weights or weights[node.input[1]].dims[-1] < BLOCK)
    ]
    quantizer = MatMulNBitsQuantizer(model, algo_config=eight, nodes_to_exclude=no_weights)
    quantizer.process()
    small: onnx.ModelProto = quantizer.model.model  # pyright: ignore[reportAttributeAccessIssue] - it was wrapped
    _shrink_tables(small.graph)
    _shrink_convolutions(small.graph)
    return small


def _shrink_convolutions(graph: onnx.GraphProto) -> None:
    weights = {t.name: t for t in graph.initializer}
    filters = [  # of pictures; over time alone a convolution is a Fourier transform, whose quiet bands would drown
        node.input[1]
        for node in graph.node
        if node.op_type == "Conv" and node.input[1] in weights and len(weights[node.input[1]].dims) == 4
    ]
    made: list[NodeProto] = []
    for name in dict.fromkeys(filters):
        whole, scales = _whole(numpy_helper.to_array(weights[name]), axes=(1, 2, 3))
        graph.initializer.remove(weights[name])
        once = only_once(whole, scales)
        if once is None:
            made += _scaled(graph, name, whole, scales)
        else:
            made += _scaled(graph, f"{name}/once", once, scales[: once.shape[1], 0, 0])
            made += spreading(graph, name, f"{name}/once", whole.shape)
    nodes = [*made, *graph.node]
    graph.ClearField("node")
    graph.node.extend(nodes)


def _scaled(graph: onnx.GraphProto, name: str, whole: NDArray[np.int8], scales: NDArray[np.float32]) -> list[NodeProto]:
    """Nodes that make the floats `name` of whole numbers and scales, which join the graph."""
    graph.initializer.extend(
        [numpy_helper.from_array(whole, f"{name}/whole"), numpy_helper.from_array(scales, f"{name}/scales")]
    )
    return [
        helper.make_node("Cast", [f"{name}/whole"], [f"{name}/float"], name=f"{name}/cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}/float", f"{name}/scales"], [name], name=f"{name}/scale"),
    ]


def _whole(weights: NDArray[np.float32], axes: tuple[int, ...]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Whole numbers, and the scale that `axes` share."""
    scales = np.abs(weights).max(axes, keepdims=True).clip(min=1e-12) / 127
    return np.rint(weights / scales).astype(np.int8), scales.astype(np.float32)


def _shrink_tables(graph: onnx.GraphProto) -> None:
    tables = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 2}
    for number, node in enumerate(list(graph.node)):
        if node.op_type != "Gather" or node.input[0] not in tables:
            continue
        name, ids, out = node.input[0], node.input[1], node.output[0]
        whole, scales = _whole(numpy_helper.to_array(tables[name]), axes=(1,))
        graph.initializer.remove(tables.pop(name))
        graph.initializer.extend(
            [numpy_helper.from_array(whole, name), numpy_helper.from_array(scales, f"{name}/scales")]
        )
        made = [
            helper.make_node("Gather", [name, ids], [f"{out}/whole"], axis=0),
            helper.make_node("Gather", [f"{name}/scales", ids], [f"{out}/scale"], axis=0),
            helper.make_node("Cast", [f"{out}/whole"], [f"{out}/float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{out}/float", f"{out}/scale"], [out]),
        ]
        place = list(graph.node).index(node)
        graph.node.remove(node)
        for offset, one in enumerate(made):
            one.name = f"table{number}/{offset}"
            graph.node.insert(place + offset, one)
