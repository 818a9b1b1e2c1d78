"""Encoders as others publish them, tiny: ONNX graphs with the files beside them, and classes to fit a head on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

SIZE = 16
WIDTH = 16
WORDS_EACH = 6
N_CLASSES = 24
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]


def image_encoder(folder: Path, *, batch: int | str = "batch", broken: bool = False, opset: int = 13) -> Path:
    """Two convolutions with random weights, and what transformers would write beside them."""
    rng = np.random.default_rng(0)
    weights = {
        "one": rng.normal(0, 0.4, (8, 3, 3, 3)),
        "two": rng.normal(0, 0.3, (WIDTH, 8, 3, 3)),
        "shape": np.array([0, -1], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["pixel_values", "one"], ["a"], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "two"], ["c"], strides=[2, 2]),
        helper.make_node("Sqrt" if broken else "Tanh", ["c"], ["last_hidden_state"]),
        helper.make_node("GlobalAveragePool", ["last_hidden_state"], ["d"]),
        helper.make_node("Reshape", ["d", "shape"], ["pooler_output"]),
    ]
    shape = [batch, 3, "height", "width"]
    inputs = [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, shape)]
    outputs = [
        helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [batch, WIDTH, "h", "w"]),
        helper.make_tensor_value_info("pooler_output", TensorProto.FLOAT, [batch, WIDTH]),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    save(nodes, inputs, outputs, weights, folder / "model.onnx", opset)
    config = {
        "do_center_crop": True,
        "crop_size": {"height": SIZE, "width": SIZE},
        "size": {"shortest_edge": 20},
        "image_mean": MEAN,
        "image_std": STD,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\ntags: [tiny]\n---\n# Tiny\n")
    return folder


def text_encoder(folder: Path, *, padding: int = 0, types: bool = True, names: tuple[str, ...] = ()) -> Path:
    """A table of word vectors, those of one class near each other, and its tokenizer; RoBERTa's `padding` is 1."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    special.insert(padding, special.pop(0))
    words = [word(c, i) for c in range(N_CLASSES) for i in range(WORDS_EACH)]
    vocabulary = {token: i for i, token in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, ends)
    tokenizer.enable_padding(pad_id=padding, pad_token="[PAD]")  # noqa: S106 - no password
    rng = np.random.default_rng(1)
    near = rng.normal(0, 1, (N_CLASSES, 1, WIDTH)) + rng.normal(0, 0.7, (N_CLASSES, WORDS_EACH, WIDTH))
    table = np.concatenate([rng.normal(0, 1, (4, WIDTH)), near.reshape(-1, WIDTH)]) + 0.5
    table[padding] = 100.0  # seen, it would drown everything
    given = names or ("input_ids", "attention_mask", *(("token_type_ids",) if types else ()))
    nodes = [helper.make_node("Gather", ["table", given[0]], ["last_hidden_state"])]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in given]
    outputs = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", WIDTH])]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "onnx").mkdir(exist_ok=True)
    save(nodes, inputs, outputs, {"table": table}, folder / "onnx" / "model.onnx", 14)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def save(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: dict[str, np.ndarray],
    path: Path,
    opset: int,
) -> None:
    """A graph of float32 weights, checked."""
    tensors = [
        numpy_helper.from_array(w if w.dtype == np.int64 else w.astype(np.float32), name) for name, w in weights.items()
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def word(kind: int, number: int) -> str:
    return f"w{kind}x{number}"


def photos(folder: Path, n_classes: int = N_CLASSES, n_examples: int = 12) -> Path:
    """A folder a class of noisy pictures in the class's two colours, wider than high."""
    for kind in range(n_classes):
        (folder / f"colour {kind}").mkdir(parents=True)
        for example in range(n_examples):
            photo(kind, example).save(folder / f"colour {kind}" / f"{example}.png")
    return folder


def photo(kind: int, example: int) -> Image.Image:
    colours = np.random.default_rng((kind, 0)).integers(0, 256, (2, 3))
    rng = np.random.default_rng((kind, 1, example))
    pixels = colours[(np.arange(24)[:, None] // 4 + np.arange(32)[None] // 4) % 2] + rng.normal(0, 25, (24, 32, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def text(kind: int, example: int) -> str:
    """Five words, three of the class."""
    rng = np.random.default_rng((kind, 2, example))
    own = [word(kind, int(i)) for i in rng.integers(1, WORDS_EACH, 3)]
    other = [
        word(int(k), int(i)) for k, i in zip(rng.integers(0, N_CLASSES, 2), rng.integers(0, WORDS_EACH, 2), strict=True)
    ]
    return " ".join(rng.permutation([*own, *other]))


def texts(path: Path, n_examples: int = 10) -> Path:
    """A CSV; a class is named by a word of its own that no text of it has."""
    rows = [f"{text(kind, example)},{word(kind, 0)}" for kind in range(N_CLASSES) for example in range(n_examples)]
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return path
