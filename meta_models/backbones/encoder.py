"""A body that is a graph alone, `body.onnx`: an encoder of one's own, or weights published in eight bits."""

from __future__ import annotations

from torch import Tensor, nn

from meta_models.decompositions import NotDecomposableError


class Encoder(nn.Module):
    """Knows how many features there are, and holds no tensors: ONNX Runtime runs the published graph."""

    def __init__(self, shape: tuple[int | str, ...], n_features: int) -> None:
        """`shape` is one example's."""
        super().__init__()
        self.n_features = n_features

    def forward(self, inputs: Tensor) -> Tensor:
        """Raises `NotDecomposableError`: there is nothing to run or to trace."""
        raise NotDecomposableError(
            "this meta-model's body is an ONNX graph, which torch can neither run nor trace: it has no adapting "
            "export; export an adapted model instead"
        )
