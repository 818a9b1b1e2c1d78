"""A sentence encoder: token ids to one unit vector a text, less a vector that all of them share.

All embeddings of one encoder have a large common part, which tells no classes apart (Arora et al. 2017, "A simple but
tough-to-beat baseline for sentence embeddings"): what is subtracted is learned, from zero. So far it stays near it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meta_models.backbones.bert import Bert, BertConfig, unit_length
from meta_models.inputs.text import PADDING


class Sentence(nn.Module):
    """all-MiniLM-L6-v2's shape unless told otherwise; its tensors come from a checkpoint, so none are made here."""

    def __init__(self, shape: tuple[int | str, ...], max_tokens: int = 128, **config: int) -> None:
        """`shape` is a whole row's, text and class name; `max_tokens` of it are the text's."""
        super().__init__()
        self._width, self._max_tokens = shape[0], max_tokens
        with torch.device("meta"):
            self.bert = Bert(BertConfig(**{**MINILM, **config}))
        # What `to_empty` does, without its import of half a second.
        undrawn = {name: torch.empty(tuple(t.shape)) for name, t in self.bert.state_dict().items()}
        self.bert.load_state_dict(undrawn, assign=True)
        self.n_features = self.bert.n_features
        self.center = nn.Parameter(torch.zeros(self.n_features))

    def forward(self, ids: Tensor) -> Tensor:
        """(n, length) token ids to (n, n_features), or whole rows to (n, 2, n_features): texts and their class names.

        A name that is absent is a vector of zeros.
        """
        if ids.shape[1] != self._width:
            return self._embed(ids)
        texts, names = ids[:, : self._max_tokens], ids[:, self._max_tokens :]
        return torch.stack([self._by_length(texts), self._names(names)], dim=1)

    def _by_length(self, ids: Tensor) -> Tensor:
        """Texts of about the same length go through together: padding costs as much as tokens."""
        order = (ids != PADDING).sum(1).argsort()
        embedded = torch.cat([self._embed(_trimmed(ids[rows])) for rows in order.split(_TOGETHER)])
        return embedded[order.argsort()]

    def _names(self, ids: Tensor) -> Tensor:
        distinct, which = torch.unique(ids, dim=0, return_inverse=True)
        known = (distinct != PADDING).any(1)
        embedded = torch.zeros(len(distinct), self.n_features, device=ids.device)
        if bool(known.any()):
            embedded[known] = self._embed(_trimmed(distinct[known])).float()
        return embedded[which]

    def _embed(self, ids: Tensor) -> Tensor:
        return unit_length(self.bert(ids, ids != PADDING) - self.center)


MINILM = {
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
}


_TOGETHER = 32
"""Texts of an episode that go through at once."""


def _trimmed(ids: Tensor) -> Tensor:
    """Without the columns that are padding in every row."""
    return ids[:, : int((ids != PADDING).sum(1).max())]
