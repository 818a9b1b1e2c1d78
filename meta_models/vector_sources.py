"""Embeddings and tables from many places, to meta-tune on what clients may bring: 4 to 1,000 dimensions.

What is learned here is a few scalars, so the sources differ in kind rather than in number: sentences, drawings,
tables, and random features of these with units of their own. The splits share no class; FewRel and the tables wine and
breast cancer are sources of which nothing else is seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meta_models.catalogue import ZOO
from meta_models.datasets import ClassPool, Omniglot, load_omniglot
from meta_models.inputs import DrawingSpec
from meta_models.manifest import sha256
from meta_models.pretrained import TOKENIZER, encoder_folder
from meta_models.serving import ServedModel
from meta_models.splits import Protocol, Splits
from meta_models.text_sources import FOLDS_FILE, read_file, read_lines

FOLD = "01"
"""Of the five class-disjoint folds of Dopierre et al. 2021 (ProtAugment, arXiv:2105.12995)."""

DEVELOPMENT_ALPHABETS = ("Armenian", "Gujarati", "Hebrew", "Latin")
ENCODER = "omniglot-protonet"
SENTENCE_ENCODER = "all-MiniLM-L6-v2"
MAX_TOKENS = 64


@dataclass(frozen=True)
class Embedded:
    """Vectors (n, d), the class of each, and for drawings its alphabet."""

    vectors: NDArray[np.float32]
    labels: NDArray[Any]
    groups: NDArray[np.int64] | None = None

    def pool(self, keep: NDArray[np.bool_] | None = None) -> ClassPool:
        """Its classes, or those of the rows where `keep` is true; without alphabets they are one group."""
        kept = np.flatnonzero(np.ones(len(self.labels), bool) if keep is None else keep)
        names = np.unique(self.labels[kept])
        rows = tuple(np.flatnonzero(self.labels == name) for name in names)
        groups = np.zeros(len(names), np.int64)
        if self.groups is not None:
            groups = np.unique(self.groups[[own[0] for own in rows]], return_inverse=True)[1]
        used = np.concatenate(rows)
        spans = np.split(np.arange(len(used)), np.cumsum([len(own) for own in rows])[:-1])
        return ClassPool(self.vectors[used], tuple(spans), tuple(map(str, names)), groups)

    def of(self, labels: Sequence[str]) -> ClassPool:
        return self.pool(np.isin(self.labels, list(labels)))


def vector_splits(data: Path, cache: Path) -> Splits:
    """All of them, from the files of `data`; embeddings are kept in `cache`.

    Raises:
        DataError: a data set or the sentence encoder is missing.
    """
    cache.mkdir(parents=True, exist_ok=True)
    folds = json.loads(read_file(data, FOLDS_FILE))
    banking, clinc = sentences(data, "banking77", cache), sentences(data, "clinc150", cache)
    fewrel = sentences(data, "fewrel_val_wiki", cache)
    omniglot = load_omniglot(data)
    drawings = characters(omniglot, cache)
    held_out = [omniglot.alphabet_names.index(a) for a in DEVELOPMENT_ALPHABETS]
    development = np.isin(omniglot.alphabet, held_out).repeat(20)
    background = omniglot.is_background.repeat(20)
    digits, iris, wine, cancer = (table(name) for name in ("digits", "iris", "wine", "breast_cancer"))

    def text(source: Embedded, name: str, part: str) -> ClassPool:
        return source.of(folds[name][FOLD][part])

    train = (
        text(banking, "banking77", "train"),
        text(clinc, "clinc150", "train"),
        drawings.pool(background & ~development),
        digits.pool(),
    )
    held_back = (
        text(banking, "banking77", "valid"),
        text(clinc, "clinc150", "valid"),
        drawings.pool(background & development),
        iris.pool(),
    )
    return Splits(
        (
            *train,
            random_features(train[0], 16, 1),
            random_features(train[1], 200, 2),
            random_features(train[3], 1000, 3),
        ),
        (*held_back, random_features(held_back[0], 24, 4), random_features(held_back[2], 1000, 5)),
        (
            Protocol("BANKING77 embeddings", text(banking, "banking77", "test"), 0.0),
            Protocol("CLINC150 embeddings", text(clinc, "clinc150", "test"), 0.0),
            Protocol("FewRel embeddings", fewrel.pool(), 0.0),
            Protocol("Omniglot embeddings, L", drawings.pool(~background), 1.0),
            Protocol("wine", wine.pool(), 0.0),
            Protocol("breast cancer", cancer.pool(), 0.0),
        ),
    )


def random_features(pool: ClassPool, size: int, seed: int) -> ClassPool:
    """The same examples as `size` random rectified features, each in a unit of its own."""
    rng = np.random.default_rng(seed)
    inputs = pool.inputs / pool.inputs.std()
    projection = rng.normal(size=(inputs.shape[1], size)) / np.sqrt(inputs.shape[1])
    made = np.maximum(inputs @ projection, 0) * np.exp(rng.normal(size=size))
    return ClassPool(made.astype(np.float32), pool.class_examples, pool.class_names, pool.class_groups)


def table(name: str) -> Embedded:
    """A data set that scikit-learn ships."""
    import sklearn.datasets

    load: Callable[..., Any] = getattr(sklearn.datasets, f"load_{name}")
    rows, labels = load(return_X_y=True)
    return Embedded(rows.astype(np.float32), labels)


def characters(omniglot: Omniglot, cache: Path) -> Embedded:
    """Every Omniglot drawing as the features of the published `omniglot-protonet`; alphabets are the groups."""
    model = ServedModel(ZOO / ENCODER)
    digest = model.manifest.files["body.onnx"][:12]

    def compute() -> NDArray[np.float32]:
        return np.asarray(model.features(omniglot.pool(DrawingSpec()).inputs), np.float32)

    vectors = _kept(cache / f"omniglot-{digest}.npy", compute)
    return Embedded(vectors, np.arange(len(omniglot.alphabet)).repeat(20), omniglot.alphabet.repeat(20))


def sentences(data: Path, name: str, cache: Path) -> Embedded:
    """The texts of `<name>.jsonl`, lines with `text` and `label`, as embeddings of a frozen sentence encoder."""
    lines = read_lines(data, name)
    digest = sha256(data / f"{name}.jsonl")[:12]
    vectors = _kept(
        cache / f"{name}-{digest}.npy",
        lambda: embed([line["text"] for line in lines], encoder_folder(SENTENCE_ENCODER, data)),
    )
    return Embedded(vectors, np.array([line["label"] for line in lines]))


def embed(texts: Sequence[str], folder: Path, batch: int = 64) -> NDArray[np.float32]:
    """(n, 384) embeddings by the encoder in `folder`; texts of like length share a batch."""
    import torch
    from tokenizers import Tokenizer

    from meta_models.backbones.bert import Bert

    encoder, tokenizer = Bert.load(folder), Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    vectors = np.zeros((len(texts), encoder.n_features), np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            read = tokenizer.encode_batch([texts[i] for i in rows])
            ids, mask = (torch.tensor([getattr(r, field) for r in read]) for field in ("ids", "attention_mask"))
            vectors[rows] = encoder(ids, mask).numpy()
    return vectors


def _kept(path: Path, compute: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
    if not path.exists():
        partial = path.with_suffix(".part.npy")
        np.save(partial, compute())
        partial.rename(path)
    return np.load(path, allow_pickle=False)
