"""Records work on a CUDA device once and replays it: most of a small network's step is the launching of kernels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Work = Callable[..., tuple[Tensor, ...]]

_EAGER_CALLS = 2
"""Of each shape: they fill the optimizer's state and choose the convolutions' kernels, which a recording cannot."""


class Captured:
    """A function of small tensors, recorded as a CUDA graph for each shape of them.

    It must not wait for the device, and what it changes must stay where it is in memory.
    """

    def __init__(self, work: Work, device: torch.device) -> None:
        self._work, self._device = work, device
        self._calls: dict[tuple[torch.Size, ...], int] = {}
        self._recorded: dict[tuple[torch.Size, ...], _Recording] = {}
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """Tensors on the CPU to the function's results, which the next call overwrites."""
        key = tuple(tensor.shape for tensor in arguments)
        if key in self._recorded:
            return self._recorded[key].replay(arguments)
        moved = tuple(to_device(tensor, self._device) for tensor in arguments)
        self._calls[key] = self._calls.get(key, 0) + 1
        if self._calls[key] <= _EAGER_CALLS:
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(self._stream):
                results = self._work(*moved)
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
            return results
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            results = self._work(*moved)
        self._recorded[key] = _Recording(graph, moved, results)
        return self._recorded[key].replay(arguments)


class _Recording:
    def __init__(self, graph: torch.cuda.CUDAGraph, arguments: tuple[Tensor, ...], results: tuple[Tensor, ...]) -> None:
        self._graph, self._arguments, self._results = graph, arguments, results

    def replay(self, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for place, tensor in zip(self._arguments, arguments, strict=True):
            place.copy_(tensor.pin_memory(), non_blocking=True)
        self._graph.replay()
        return self._results


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy that the CPU does not wait for."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
