"""How an encoder reads its inputs, from its graph, the files beside it, and what the user says. Knows no ONNX."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from meta_models.encoders import EncoderError
from meta_models.encoders.files import EncoderFiles
from meta_models.inputs import PhotoSpec, TextSpec

Pooling = Literal["mean", "first"]

Triple = tuple[float, float, float]

MOST_TOKENS = 128


@dataclass(frozen=True)
class Options:
    """What the user says; None leaves it to the files.

    Attributes:
        size: side of the pictures.
        mean, std: by which pixels in [0, 1] are normalised, red, green, blue.
        max_tokens: of a text.
        output: of the graph.
        pooling: of an output that has a vector for each token or place.
    """

    size: int | None = None
    mean: Triple | None = None
    std: Triple | None = None
    max_tokens: int | None = None
    output: str | None = None
    pooling: Pooling | None = None


@dataclass(frozen=True)
class Pixels:
    """x = pixel · scale + shift, for each channel, of pixels from 0 to 255."""

    scale: Triple
    shift: Triple


def photo_spec(files: EncoderFiles, fixed: int | None, options: Options) -> tuple[PhotoSpec, Pixels]:
    """`fixed` is the side that the graph insists on.

    Raises:
        EncoderError: nothing says how large pictures are, or two things say it differently.
    """
    config = files.config("preprocessor_config.json")
    stated = config.get("crop_size") if config.get("do_center_crop", "crop_size" in config) else None
    size = options.size or fixed or _side(stated or config.get("size"))
    if size is None:
        raise EncoderError(f"nothing says how large the pictures of {files.name} are: give --size")
    if fixed is not None and size != fixed:
        raise EncoderError(f"the graph takes pictures of {fixed}x{fixed}, not of {size}x{size}")
    if not 8 <= size <= 512:
        raise EncoderError(f"pictures of {size}x{size}: 8 to 512 are supported")
    rescale = float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0
    normalise = config.get("do_normalize", True)
    mean = options.mean or (_triple(config, "image_mean", 0.0) if normalise else (0.0, 0.0, 0.0))
    std = options.std or (_triple(config, "image_std", 1.0) if normalise else (1.0, 1.0, 1.0))
    if not all(s > 0 for s in std):
        raise EncoderError(f"the standard deviations of pixels must be above zero, not {std}")
    scale = (rescale / std[0], rescale / std[1], rescale / std[2])
    return PhotoSpec(size=size), Pixels(scale, (-mean[0] / std[0], -mean[1] / std[1], -mean[2] / std[2]))


def text_spec(files: EncoderFiles, options: Options) -> tuple[TextSpec, int]:
    """The spec, and the id that the encoder takes for padding.

    Raises:
        EncoderError: there is no tokenizer, or the library cannot read it.
    """
    from tokenizers import Tokenizer

    path = files.folder / "tokenizer.json"
    if not path.is_file():
        raise EncoderError(
            f"{files.name} reads token ids but has no tokenizer.json; "
            "`AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER)` of transformers writes one"
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise EncoderError(f"{path.name} cannot be read: {error}") from error
    said = json.loads(tokenizer.to_str())
    padding = (said.get("padding") or {}).get("pad_id")
    named = files.config("tokenizer_config.json")
    if padding is None:
        padding = tokenizer.token_to_id(_token(named.get("pad_token"))) or 0
    vocabulary = tokenizer.get_vocab(with_added_tokens=True).values()
    limits = [
        options.max_tokens or MOST_TOKENS,
        files.config("sentence_bert_config.json").get("max_seq_length"),
        named.get("model_max_length"),
        (said.get("truncation") or {}).get("max_length"),
    ]
    longest = min(int(limit) for limit in limits if limit)
    if longest < 4:
        raise EncoderError(f"texts of {longest} tokens: 4 to 512 are supported")
    shift: Literal[0, 1] = 0 if padding == 0 else 1
    # Ids as they are read are at most the largest one, plus the shift.
    spec = TextSpec(n_tokens=max(vocabulary) + 1 + shift, max_tokens=min(longest, 512), shift=shift)
    return spec.located(files.folder), padding


def text_pooling(files: EncoderFiles, options: Options) -> Pooling:
    """As sentence-transformers' files say it, else the mean.

    Raises:
        EncoderError: they ask for another kind.
    """
    config = files.config("1_Pooling/config.json")
    if options.pooling:
        return options.pooling
    prefix = "pooling_mode_"
    asked = {name.removeprefix(prefix) for name, on in config.items() if name.startswith(prefix) and on is True}
    if asked <= {"mean_tokens"}:
        return "mean"
    if asked == {"cls_token"}:
        return "first"
    raise EncoderError(f"{files.name} pools by {', '.join(sorted(asked))}; choose --pooling mean or first")


def _side(stated: Any) -> int | None:
    """Of `224`, `{"shortest_edge": 224}` or `{"height": 224, "width": 224}`."""
    if isinstance(stated, dict):
        sides = {int(v) for k, v in stated.items() if k in ("shortest_edge", "height", "width") and v}
        if len(sides) > 1:
            raise EncoderError(f"pictures are square here, preprocessor_config.json says {stated}")
        return next(iter(sides), None)
    return int(stated) if isinstance(stated, int | float) else None


def _triple(config: dict[str, Any], name: str, default: float) -> Triple:
    found = config.get(name, [default])
    values = [float(v) for v in (found if isinstance(found, list) else [found])]
    if len(values) not in (1, 3):
        raise EncoderError(f"{name} of preprocessor_config.json must have three numbers, found {found}")
    return (values[0], values[len(values) // 2], values[-1])


def _token(stated: Any) -> str:
    """Of `"[PAD]"` or `{"content": "[PAD]", …}`."""
    return str(stated.get("content")) if isinstance(stated, dict) else str(stated)
