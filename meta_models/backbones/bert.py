"""BERT as a sentence encoder (Devlin et al. 2019, arXiv:1810.04805; Reimers & Gurevych 2019, arXiv:1908.10084).

Parameters are named as in published checkpoints, so that their safetensors load as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from meta_models.algorithms.protocol import row_sums


class BertConfig(BaseModel):
    """The members of a checkpoint's `config.json` that shape the network."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12


class Bert(nn.Module):
    """Token ids to one embedding of unit length a text: the mean over its tokens."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.n_features = config.hidden_size

    @classmethod
    def load(cls, folder: Path) -> Bert:
        """A checkpoint: `config.json` and `model.safetensors`.

        Raises:
            FileNotFoundError: one of them is missing.
            RuntimeError: the tensors are not those of a BERT of that shape.
        """
        model = cls(BertConfig.model_validate_json((folder / "config.json").read_bytes()))
        stored = load_file(folder / "model.safetensors")
        unused = ("pooler.", "embeddings.position_ids")
        model.load_state_dict({name: t for name, t in stored.items() if not name.startswith(unused)})
        return model.eval().requires_grad_(False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(n, length) token ids and a mask that is 1 on tokens and 0 on padding, to (n, n_features)."""
        hidden = self.embeddings(ids)
        # Added to every attention score: padding gets no share.
        bias = (1 - mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
        for layer in cast(nn.ModuleList, self.encoder.layer):
            hidden = layer(hidden, bias)
        # Products with two equal rows: ONNX Runtime's own sums round a text by how many others there are.
        share = (mask.float() / mask.float().sum(1, keepdim=True))[:, None, :].expand(-1, 2, -1)
        return unit_length((share @ hidden)[:, 0])


def unit_length(rows: Tensor) -> Tensor:
    """(n, d), each divided by its length."""
    return rows * row_sums(rows * rows).clamp(min=1e-24).rsqrt()


def _table(n: int, width: int) -> nn.Embedding:
    """Undrawn: a checkpoint fills it, and drawing on the device `meta` would import torch's compiler, a second."""
    return nn.Embedding.from_pretrained(torch.empty(n, width), freeze=False)


class _Embeddings(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = _table(config.vocab_size, config.hidden_size)
        self.position_embeddings = _table(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = _table(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, ids: Tensor) -> Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device)
        summed = self.word_embeddings(ids) + self.position_embeddings(positions) + self.token_type_embeddings.weight[0]
        return self.LayerNorm(summed)


class _Layer(nn.Module):
    """Self-attention, then a two-layer network, each added to its input and normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.n_heads = config.num_attention_heads
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict({name: nn.Linear(size, size) for name in ("query", "key", "value")}),
                "output": _out(size, size, config.layer_norm_eps),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(size, config.intermediate_size)})
        self.output = _out(config.intermediate_size, size, config.layer_norm_eps)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        own, out = cast(nn.ModuleDict, self.attention["self"]), cast(nn.ModuleDict, self.attention["output"])
        query, key, value = (
            own[name](hidden).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for name in ("query", "key", "value")
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        mixed = mixed.transpose(1, 2).flatten(2)
        hidden = out["LayerNorm"](out["dense"](mixed) + hidden)
        wide = functional.gelu(self.intermediate["dense"](hidden))
        return self.output["LayerNorm"](self.output["dense"](wide) + hidden)


def _out(size_in: int, size_out: int, eps: float) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(size_in, size_out), "LayerNorm": nn.LayerNorm(size_out, eps)})
