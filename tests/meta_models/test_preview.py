"""What people are shown is what the meta-model sees."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from meta_models.catalogue import Catalogue
from meta_models.inputs import Caps, DrawingSpec, PhotoSpec, SoundSpec, VectorSpec
from meta_models.inputs.preview import SIDE, Preview
from tests.drawings import png
from tests.photos import jpeg
from tests.sounds import RATE, encoded, wav
from tests.texts import spec as text_spec

NO_BACKBONE: dict[str, Any] = {}


def shown(preview: Preview) -> tuple[NDArray[np.uint8], str]:
    """The pixels of its PNG and what it says of itself."""
    with Image.open(io.BytesIO(preview.png())) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture), picture.text["Description"]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("spec", "file"), [(DrawingSpec(), png(1, 0)), (PhotoSpec(), jpeg(1, 0)), (PhotoSpec(size=400), jpeg(1, 0))]
)
def test_a_picture_is_enlarged_without_smoothing(spec: DrawingSpec | PhotoSpec, file: bytes) -> None:
    row = spec.read(file, Caps())
    pixels, words = shown(spec.preview(row, NO_BACKBONE))
    scale = max(1, SIDE // spec.size)
    assert pixels.shape[:2] == (scale * spec.size, scale * spec.size)
    wanted = row.repeat(scale, 1).repeat(scale, 2).transpose(1, 2, 0)
    assert np.array_equal(pixels.reshape(wanted.shape), wanted)
    assert f"{spec.size}×{spec.size}" in words


def test_a_tone_is_a_light_line_at_its_height_and_silence_is_black() -> None:
    spec, time = SoundSpec(), np.arange(RATE // 2) / RATE

    def lines(*hertz: int) -> NDArray[np.uint8]:
        sound = sum(np.sin(2 * np.pi * h * time) for h in hertz)
        seen = spec.preview(spec.read(encoded(0.3 * np.asarray(sound)), Caps()), NO_BACKBONE)
        assert seen.words.startswith("0.50 s of sound in 1 s, 8000 samples a second")
        assert seen.pixels is not None
        return seen.pixels

    low, high = lines(300), lines(2500)
    assert low.shape == high.shape == (32, 62, 3)
    middle = slice(25, 37)
    heights = [picture[:, middle].sum((1, 2), dtype=int).argmax() for picture in (low, high)]
    assert heights[0] > 20 > 12 > heights[1], "high tones are above"
    assert (low[:, :10] == low[0, 0]).all()
    assert low[0, 0].max() < 10
    both = lines(300, 2500)
    assert (both[heights, 30].sum(1, dtype=int) > 300).all()


def test_a_sound_is_shown_as_its_own_meta_model_hears_it() -> None:
    spec = SoundSpec()
    row = spec.read(wav(1), Caps())
    for published in Catalogue():
        if published.manifest.modality == "audio":
            pixels = spec.preview(row, published.manifest.backbone).pixels
            assert pixels is not None
            assert pixels.shape == (32, 62, 3)
    finer = spec.preview(row, {"name": "mel_conv", "rate": 8000, "n_mels": 40, "hop": 0.01, "overlap": 3})
    assert finer.pixels is not None
    assert finer.pixels.shape == (40, 100, 3)
    assert "40 mel bands" in finer.words
    assert "100 spectra" in finer.words


def test_a_text_is_told_as_its_tokens_and_what_is_cut(tmp_path: Path) -> None:
    spec = text_spec(tmp_path)
    given = "My card has NOT arrived"
    row = spec.read(given, Caps())
    preview = spec.preview(row, NO_BACKBONE)
    tokens = preview.words.splitlines()[1]
    assert tokens == "text, 7 of at most 32 tokens: [CLS] my card has not arrived [SEP]"
    assert spec.cut(given) == 0
    named = spec.preview(spec.with_name(row, "card_arrival"), NO_BACKBONE).words.splitlines()
    assert named[1] == tokens
    assert named[2] == "class name, 4 of at most 8 tokens: [CLS] card arrival [SEP]"
    with pytest.raises(ValueError, match="only words"):
        preview.png()


def test_a_long_text_ends_where_it_is_cut(tmp_path: Path) -> None:
    spec = text_spec(tmp_path)
    given = "card " * 40 + "refund"
    tokens = spec.preview(spec.read(given, Caps()), NO_BACKBONE).words.splitlines()[1]
    assert tokens.startswith("text, 32 of at most 32 tokens (what is longer is cut): [CLS] card")
    assert tokens.split().count("card") == 30
    assert spec.cut(given) == spec.cut(given.encode()) == 43 - 32


def test_a_text_is_read_out_without_the_marks_of_its_tokenizer() -> None:
    spec = Catalogue().resolve("text").manifest.input
    said, told = spec.preview(spec.read("Unbelievable: WHERE is it", Caps()), NO_BACKBONE).words.splitlines()
    assert said == "unbelievable : where is it"
    assert told.endswith("[CLS] unbelievable : where is it [SEP]")


def test_tokens_are_shifted_back(tmp_path: Path) -> None:
    spec = text_spec(tmp_path).model_copy(update={"shift": 1})
    words = spec.preview(spec.read("my card", Caps()), NO_BACKBONE).words
    assert words.endswith("[CLS] my card [SEP]")


def test_a_vector_is_a_cell_for_each_dimension() -> None:
    row = np.array([1, -1, 0, 2, -2, 500, *[0] * 34], np.float32)
    seen = VectorSpec().preview(row, NO_BACKBONE)
    assert seen.words == "40 dimensions, norm 500, values from -2 to 500"
    assert seen.pixels is not None
    assert seen.pixels.shape == (2, 32, 3)
    red, _, blue = seen.pixels[0, :6].astype(int).T
    assert ((red > blue) == (row[:6] > 0)).all()
    assert ((blue > red) == (row[:6] < 0)).all()
    assert red[1] < 250 > blue[0], "large units do not hide the others"
    assert (np.diff((red - blue)[[4, 1, 2, 0, 3, 5]]) > 0).all()
    assert not seen.pixels[1, 8:].any(), "behind the last one there is nothing"
    assert (seen.pixels[1, :8] == seen.pixels[0, 2]).all()


@pytest.mark.parametrize("row", [[0.0], [0.0, 0.0], [1e30, -1e30, 1e-38]])
def test_every_vector_that_is_read_can_be_shown(row: list[float]) -> None:
    spec = VectorSpec()
    pixels, words = shown(spec.preview(spec.read(row, Caps()), NO_BACKBONE))
    assert pixels.ndim == 3
    assert f"{len(row)} dimensions" in words


def test_every_published_meta_model_shows_its_examples() -> None:
    for published in Catalogue():
        spec = published.manifest.input
        [row] = spec.examples(np.random.default_rng(0), np.zeros(1, np.int64))
        preview = spec.preview(row, published.manifest.backbone)
        assert preview.words
        assert (preview.pixels is None) == (spec.modality == "text")
        if preview.pixels is not None:
            assert len(np.unique(shown(preview)[0])) > 1
