"""A small tokenizer and a small sentence encoder, published as the real one is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from meta_models.inputs import TextSpec
from meta_models.manifest import Manifest, Training
from meta_models.publish import export
from meta_models.recipe import Data, Outer, Recipe
from meta_models.torch_model import TorchModel, build_algorithm

WORDS = ["card", "arrival", "refund", "money", "my", "has", "not", "arrived", "where", "is", "back", "please", "help"]
VOCABULARY = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
SMALL = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 40,
}


def tokenizer_folder(folder: Path) -> Path:
    """A folder with `tokenizer.json`: words in lower case, [CLS] before and [SEP] behind."""
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def spec(folder: Path) -> TextSpec:
    """Of that tokenizer, at most 32 tokens a text and 8 a name."""
    small = TextSpec(n_tokens=len(VOCABULARY), max_tokens=32, name_tokens=8)
    return small.located(tokenizer_folder(folder))


def recipe(text: TextSpec, **changes: Any) -> Recipe:
    return Recipe(
        name="texts",
        description="words",
        algorithm={"name": "named"},
        backbone={"name": "sentence", "max_tokens": text.max_tokens, **SMALL},
        input=text,
        data=Data(name="text"),
        episodes={"n_way": 2, "n_shot": 1, "n_query": 1},
        outer=Outer(steps=1),
        **changes,
    )


def encoder_model(text: TextSpec) -> TorchModel:
    """An encoder with random weights."""
    torch.manual_seed(0)
    made = recipe(text)
    algorithm = build_algorithm(made.algorithm, made.backbone, made.input.shape)
    params = {
        name: torch.randn_like(t) * 0.2 if name.startswith("backbone.bert") else t
        for name, t in algorithm.init().items()
    }
    return TorchModel(algorithm, params)


def published(text: TextSpec, folder: Path, **changes: Any) -> tuple[TorchModel, Manifest]:
    """That encoder, exported to `folder`."""
    model = encoder_model(text)
    training = Training(
        recipe="none", data="none", licence="none", source="none", steps=0, minutes=0.0, hardware="none"
    )
    return model, export(model, recipe(text, **changes), training, folder)
