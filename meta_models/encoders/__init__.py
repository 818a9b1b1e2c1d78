"""An image or text encoder that others trained, an ONNX graph, becomes a meta-model with a head fitted here."""

from __future__ import annotations


class EncoderError(ValueError):
    """This encoder cannot become a meta-model; the message says why and what would help."""
