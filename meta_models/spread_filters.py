"""Filters that are one another's turns and mirror images, kept once in a graph: an eighth of its weights.

ONNX Runtime spreads them when it loads the graph, and what runs are plain convolutions.
"""

# pyright: reportUnknownMemberType=false
# (onnx has no complete types)

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from meta_models.backbones.equivariant import MOVED, SYMMETRIES


def only_once(whole: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.int8] | None:
    """(8 * m, 8 * c, k, k) filters of `Equivariant`, of `scales` (8 * m, 1, 1, 1), to the (8 * k * k, m, c) that tell
    all of them: what each filter of the first symmetry has by group of channels and place. None where the others, or
    their scales, do not follow from those."""
    n, before, kernel, _ = whole.shape
    if n % SYMMETRIES or before % SYMMETRIES:
        return None
    first = whole[: n // SYMMETRIES].reshape(n // SYMMETRIES, SYMMETRIES, before // SYMMETRIES, kernel * kernel)
    once = first.transpose(1, 3, 0, 2).reshape(SYMMETRIES * kernel * kernel, *first.shape[::2])
    spread = once[_places(kernel)].transpose(0, 3, 1, 4, 2).reshape(whole.shape)
    alike = scales.reshape(SYMMETRIES, -1)
    return once if np.array_equal(spread, whole) and (alike == alike[0]).all() else None


def spreading(graph: onnx.GraphProto, name: str, once: str, shape: tuple[int, ...]) -> list[onnx.NodeProto]:
    """Nodes that make the filters `name`, of `shape`, of the floats `once`; what they need besides joins the graph."""
    kernel = shape[3]
    places = f"places{kernel}"
    if places not in {tensor.name for tensor in graph.initializer}:
        graph.initializer.append(numpy_helper.from_array(_places(kernel), places))
    graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}/shape"))
    return [
        helper.make_node("Gather", [once, places], [f"{name}/everywhere"], name=f"{name}/gather", axis=0),
        helper.make_node(
            "Transpose", [f"{name}/everywhere"], [f"{name}/ordered"], name=f"{name}/transpose", perm=[0, 3, 1, 4, 2]
        ),
        helper.make_node("Reshape", [f"{name}/ordered", f"{name}/shape"], [name], name=f"{name}/reshape"),
    ]


def _places(kernel: int) -> NDArray[np.int64]:
    """(8, 8, k * k): where a filter under a symmetry finds each group of channels and place, in the rows of
    `only_once`."""
    square = np.arange(kernel * kernel).reshape(kernel, kernel)
    seen = [np.rot90(square[:, ::-1] if s >= 4 else square, s % 4).ravel() for s in range(SYMMETRIES)]
    groups, places = np.array(MOVED)[:, :, None], np.stack(seen)[:, None, :]
    return (groups * kernel * kernel + places).astype(np.int64)
