"""Networks that turn inputs into features. Adding one is one file and one line below."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from meta_models.backbones.cells import Cells, MixedCells
from meta_models.backbones.conv4 import Conv4
from meta_models.backbones.encoder import Encoder
from meta_models.backbones.equivariant import Equivariant
from meta_models.backbones.identity import Identity
from meta_models.backbones.mel_conv import MelConv
from meta_models.backbones.residual import Residual
from meta_models.backbones.resnet12 import ResNet12
from meta_models.backbones.sentence import Sentence

BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "cells": Cells,
    "conv4": Conv4,
    "encoder": Encoder,
    "equivariant": Equivariant,
    "identity": Identity,
    "mel_conv": MelConv,
    "mixed_cells": MixedCells,
    "residual": Residual,
    "resnet12": ResNet12,
    "sentence": Sentence,
}
