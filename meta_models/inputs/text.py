"""Sentences to token ids, by the tokenizer of the encoder that reads them. Knows numpy and `tokenizers` only.

A row holds a text and, in a support set, the name of its class behind it: a name that says what the class is about is
worth an example, and this way it stands beside each example wherever that one goes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from tokenizers import Encoding, Tokenizer

from meta_models.inputs.foreign import foreign
from meta_models.inputs.preview import Preview
from meta_models.inputs.reading import Caps, Described, UnreadableInput, too_large
from meta_models.inputs.text_file import text_of

PADDING = 0
STEP = 8
"""Encoders read a text padded to a multiple of so many tokens."""

_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|[^\w']+|_+")
"""Where a name such as `card_arrival`, `card-arrival` or `cardArrival` has its spaces."""


class TextSpec(Described):
    """The first `max_tokens` tokens of a text, then at most `name_tokens` of a class name; 0 where there is none.

    `tokenizer` names a file of the published folder, or is that file's content where there is no folder.
    """

    modality: ClassVar[str] = "text"
    encoded: ClassVar[bool] = False
    dtype: ClassVar[type[np.generic]] = np.int32

    kind: Literal["text"] = "text"
    tokenizer: str = "tokenizer.json"
    n_tokens: Annotated[int, Field(ge=2)] = 30522
    """How many different ones there are."""
    max_tokens: Annotated[int, Field(ge=4, le=512)] = 128
    name_tokens: Annotated[int, Field(ge=4, le=64)] = 24
    shift: Literal[0, 1] = 0
    """Added to each id where the tokenizer's 0 is a token: here 0 is padding, whatever it is to the encoder."""
    folder: Annotated[Path | None, Field(exclude=True, repr=False)] = None

    @property
    def shape(self) -> tuple[int]:
        """(max_tokens + name_tokens,)."""
        return (self.max_tokens + self.name_tokens,)

    @staticmethod
    def recognises(data: bytes) -> bool:
        """A file of text: without control characters, and no picture in words."""
        try:
            text = text_of(data)
        except UnicodeDecodeError:
            return False
        start = text[:4096]
        return bool(text.strip()) and not re.search("[\x01-\x08\x0e-\x1f]", start) and not foreign(start.encode())

    def located(self, folder: Path) -> Self:
        """With its tokenizer in `folder`."""
        return self.model_copy(update={"folder": folder})

    def portable(self) -> Self:
        """With its tokenizer inside, for a file that stands alone."""
        if self.folder is None:
            return self
        content = (self.folder / self.tokenizer).read_text(encoding="utf-8")
        return self.model_copy(update={"tokenizer": content, "folder": None})

    def read(self, content: Any, caps: Caps) -> NDArray[np.int32]:
        """A text, or the bytes of a file of one, to a row without a class name.

        Raises:
            UnreadableInput: what is wrong with it.
        """
        if isinstance(content, bytes):
            try:
                content = text_of(content)
            except UnicodeDecodeError as error:
                detail = f"neither UTF-8 nor UTF-16 with a byte order mark: {error}; save it as UTF-8"
                raise UnreadableInput("undecodable_text", detail) from error
        if not isinstance(content, str):
            raise UnreadableInput("undecodable_text", f"a text is needed, found {type(content).__name__}")
        if len(content) > caps.text_characters:
            raise too_large("text", f"the text has {len(content)} characters, at most {caps.text_characters}")
        if not content.strip():
            raise UnreadableInput("empty_text", "the text has no characters but white space")
        encoded = self._encoder.encode(content)
        if all(encoded.special_tokens_mask):  # what opens and closes a text, and nothing between
            detail = "the text has no characters but those that the encoder leaves out: invisible or damaged ones"
            raise UnreadableInput("empty_text", detail)
        row = np.full(self.shape, PADDING, np.int32)
        ids = self._ids(encoded, self.max_tokens)
        row[: len(ids)] = ids
        return row

    def with_name(self, row: NDArray[np.int32], name: str) -> NDArray[np.int32]:
        """A row of a support set: the text with the name of its class."""
        words = " ".join(_WORDS.sub(" ", name).split()).lower()
        ids = self._ids(self._encoder.encode(words), self.name_tokens)
        named = row.copy()
        named[self.max_tokens :] = PADDING
        named[self.max_tokens : self.max_tokens + len(ids)] = ids
        return named

    def unnamed(self, rows: NDArray[Any]) -> NDArray[Any]:
        """(n, max_tokens + name_tokens) to texts (n, max_tokens)."""
        return self.parts(rows)[0]

    def doubts(self, rows: NDArray[Any]) -> dict[str, NDArray[np.bool_]]:
        """Texts that fill their part of the row, and texts of which the encoder knows less than half."""
        texts, _ = self.parts(rows)
        lacks = self._encoder.token_to_id(getattr(self._encoder.model, "unk_token", None) or "")
        n_words = (texts != PADDING).sum(1) - 2  # without what opens and closes a text
        n_unknown = 0 if lacks is None else (texts == lacks + self.shift).sum(1)
        return {
            f"longer than the {self.max_tokens} tokens that are read, so cut": (texts != PADDING).all(1),
            "mostly words or signs that the encoder does not know": 2 * n_unknown > n_words,
        }

    def parts(self, rows: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(n, max_tokens + name_tokens) to texts (n, max_tokens) and names (n, name_tokens)."""
        return rows[:, : self.max_tokens], rows[:, self.max_tokens :]

    def preview(self, row: NDArray[Any], backbone: Mapping[str, Any]) -> Preview:
        """(max_tokens + name_tokens,) in words: what is left of the text, its tokens, and those of the class name."""
        text, name = (ids[0] for ids in self.parts(row[None]))
        lines = [self._decoded(text), self._told("text", text)]
        if name.any():
            lines.append(self._told("class name", name))
        return Preview("\n".join(lines))

    def cut(self, content: str | bytes) -> int:
        """How many tokens of a text `read` leaves out."""
        text = text_of(content) if isinstance(content, bytes) else content
        return max(0, len(self._encoder.encode(text).ids) - self.max_tokens)

    def examples(
        self, rng: np.random.Generator, classes: NDArray[np.int64], *, wider: bool = False
    ) -> NDArray[np.int32]:
        """(n, *shape) made-up texts: half of the tokens are their class's, which is named by two of them."""
        n, longest = len(classes), min(self.max_tokens, 24)
        own = rng.integers(1, self.n_tokens, (int(classes.max()) + 1, longest))
        mixed = np.where(rng.random((n, longest)) < 0.5, own[classes], rng.integers(1, self.n_tokens, (n, longest)))
        lengths = rng.integers(4, longest + 1, (n, 1))
        rows = np.full((n, *self.shape), PADDING, np.int32)
        rows[:, :longest] = np.where(np.arange(longest) < lengths, mixed, PADDING)
        rows[:, self.max_tokens : self.max_tokens + 2] = own[classes, :2]
        return rows

    def _ids(self, encoded: Encoding, longest: int) -> list[int]:
        """At most `longest` ids, those that open and close a text among them."""
        ids = [i + self.shift for i in encoded.ids]
        return ids if len(ids) <= longest else [*ids[: longest - 1], ids[-1]]

    def _decoded(self, ids: NDArray[np.int32]) -> str:
        return self._encoder.decode([int(i) - self.shift for i in ids if i != PADDING])

    def _told(self, what: str, ids: NDArray[np.int32]) -> str:
        tokens = [self._encoder.id_to_token(int(i) - self.shift) or "?" for i in ids if i != PADDING]
        full = " (what is longer is cut)" if len(tokens) == len(ids) else ""
        return f"{what}, {len(tokens)} of at most {len(ids)} tokens{full}: {' '.join(tokens)}"

    @property
    def _encoder(self) -> Tokenizer:
        return _tokenizer(self.tokenizer, self.folder)


def by_length(ids: NDArray[np.int32]) -> list[tuple[int, NDArray[np.int64]]]:
    """Which of (n, length) token ids an encoder reads at one length, as (that length, rows), the shortest first.

    The length is a matter of each text alone, so that its embedding does not depend on its company; 0 is no text.
    """
    lengths = np.minimum(-(-(ids != PADDING).sum(1) // STEP) * STEP, ids.shape[1])
    return [(int(length), np.flatnonzero(lengths == length)) for length in np.unique(lengths)]


@cache
def _tokenizer(name: str, folder: Path | None) -> Tokenizer:
    found = Tokenizer.from_file(str(folder / name)) if folder else Tokenizer.from_str(name)
    found.no_truncation()
    found.no_padding()
    return found
