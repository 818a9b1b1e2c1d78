"""Derivatives that ONNX has no operator for, written with operators it has.

`torch.func.grad` leaves `convolution_backward` and `max_pool2d_with_indices_backward` in a traced inner loop;
torch's own tables take everything else apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

aten = torch.ops.aten


class NotDecomposableError(NotImplementedError):
    """An operation of this backbone has no decomposition here yet; the message names it."""


def table() -> dict[Any, Callable[..., Any]]:
    """torch's core decompositions and ours, for `make_fx`."""
    return {
        **torch.export.default_decompositions(),
        aten.convolution_backward.default: convolution_backward,
        aten.max_pool2d_with_indices_backward.default: max_pool_backward,
    }


def convolution_backward(
    gradient: Tensor,
    inputs: Tensor,
    weight: Tensor,
    bias_sizes: list[int] | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    output_mask: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of a plain 2-d convolution with respect to (inputs, weight, bias), where `output_mask` asks.

    Both are convolutions again: with the turned kernel for the inputs, and, examples and channels
    exchanged, of the inputs with the gradient for the weight.
    """
    if transposed or groups != 1 or set(stride) != {1} or set(dilation) != {1} or len(stride) != 2:
        raise NotDecomposableError(
            f"a convolution of stride {stride}, dilation {dilation}, groups {groups} has no ONNX derivative here; "
            "only plain 2-d convolutions of stride 1 have"
        )
    for_inputs = for_weight = for_bias = None
    if output_mask[0]:
        reach = [size - 1 - p for size, p in zip(weight.shape[2:], padding, strict=True)]
        for_inputs = functional.conv2d(gradient, weight.flip(2, 3).transpose(0, 1), padding=reach)
    if output_mask[1]:
        exchanged = functional.conv2d(inputs.transpose(0, 1), gradient.transpose(0, 1), padding=padding)
        for_weight = exchanged.transpose(0, 1)
    if output_mask[2]:
        for_bias = gradient.sum((0, 2, 3))
    return for_inputs, for_weight, for_bias


def max_pool_backward(
    gradient: Tensor,
    inputs: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """Gradient of max pooling over windows that touch but do not overlap: it goes to the first largest of each."""
    if list(stride or kernel_size) != list(kernel_size) or any(padding) or set(dilation) != {1} or ceil_mode:
        raise NotDecomposableError(
            f"max pooling of kernel {kernel_size}, stride {stride}, padding {padding} has no ONNX derivative here; "
            "only windows that touch without overlapping have"
        )
    rows, columns = kernel_size
    height, width = gradient.shape[2:]
    places = [
        inputs[:, :, i : height * rows : rows, j : width * columns : columns]
        for i in range(rows)
        for j in range(columns)
    ]
    largest = places[0]
    for place in places[1:]:
        largest = torch.maximum(largest, place)
    shares: list[Tensor] = []
    taken = torch.zeros_like(largest, dtype=torch.bool)
    for place in places:
        first = (place == largest) & ~taken
        taken = taken | first
        shares.append(torch.where(first, gradient, torch.zeros_like(gradient)))
    windows = torch.stack(shares, -1).unflatten(-1, (rows, columns))  # (n, c, height, width, rows, columns)
    spread = windows.transpose(3, 4).flatten(4, 5).flatten(2, 3)
    # Rows and columns that no window covers got nothing.
    rest = (0, inputs.shape[3] - width * columns, 0, inputs.shape[2] - height * rows)
    return functional.pad(spread, rest)
