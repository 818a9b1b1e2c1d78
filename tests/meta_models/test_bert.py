"""The sentence encoder: what torch's own layers compute, from a checkpoint's files, padding left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from meta_models.backbones.bert import Bert, BertConfig
from meta_models.backbones.sentence import Sentence

CONFIG = {
    "vocab_size": 50,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of random weights, with the tensors that sentence encoders do not use."""
    torch.manual_seed(0)
    tensors = {name: 0.3 * torch.randn_like(t) for name, t in Bert(BertConfig(**CONFIG)).state_dict().items()}
    unused = {"pooler.dense.bias": torch.zeros(12), "embeddings.position_ids": torch.arange(16)[None]}
    save_file({**tensors, **unused}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "hidden_act": "gelu"}))
    return tmp_path


def test_equals_the_layers_of_torch(folder: Path) -> None:
    model = Bert.load(folder)
    ids = torch.tensor([[3, 7, 11, 2], [5, 1, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    hidden = model.embeddings(ids)
    for ours in model.encoder.layer:
        layer = nn.TransformerEncoderLayer(12, 3, 20, 0.0, "gelu", 1e-12, batch_first=True)
        state = ours.state_dict()
        parts = [state[f"attention.self.{name}"] for name in ("query.weight", "key.weight", "value.weight")]
        biases = [state[f"attention.self.{name}"] for name in ("query.bias", "key.bias", "value.bias")]
        renamed = {
            "self_attn.in_proj_weight": torch.cat(parts),
            "self_attn.in_proj_bias": torch.cat(biases),
            "self_attn.out_proj": "attention.output.dense",
            "linear1": "intermediate.dense",
            "linear2": "output.dense",
            "norm1": "attention.output.LayerNorm",
            "norm2": "output.LayerNorm",
        }
        filled = {}
        for theirs, found in renamed.items():
            if isinstance(found, str):
                filled |= {f"{theirs}.{kind}": state[f"{found}.{kind}"] for kind in ("weight", "bias")}
            else:
                filled[theirs] = found
        layer.load_state_dict(filled)
        hidden = layer(hidden, src_key_padding_mask=mask == 0)
    means = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(model(ids, mask), means / means.norm(dim=1, keepdim=True), atol=1e-5, rtol=1e-4)


def test_padding_changes_nothing(folder: Path) -> None:
    model = Bert.load(folder)
    alone = model(torch.tensor([[5, 1]]), torch.tensor([[1, 1]]))
    padded = model(torch.tensor([[5, 1, 9, 9]]), torch.tensor([[1, 1, 0, 0]]))
    torch.testing.assert_close(padded, alone)
    assert float(alone.norm()) == pytest.approx(1)


def test_an_episode_in_any_order_gives_each_text_its_own_features() -> None:
    """Longer than what goes through at once, so that the order has to be put back."""
    torch.manual_seed(0)
    sentence = Sentence((12,), max_tokens=8, **{name: n for name, n in CONFIG.items() if isinstance(n, int)})
    sentence.load_state_dict({name: 0.3 * torch.randn_like(t) for name, t in sentence.state_dict().items()})
    ids = torch.randint(1, 50, (70, 12)) * (torch.arange(12) % 8 < torch.randint(1, 9, (70, 1)))
    with torch.no_grad():
        together, alone = sentence(ids), torch.cat([sentence(row[None]) for row in ids])
    assert torch.allclose(together, alone, atol=1e-6)
