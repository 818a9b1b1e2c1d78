"""The same photograph however it was saved, and what its kind is told by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from meta_models.inputs import Caps, DrawingSpec, PhotoSpec, Picture, UnreadableInput
from meta_models.inputs.drawing import looks_drawn
from meta_models.inputs.picture import MAX_WORKING_SIDE
from tests.drawings import bomb, encoded, sketch, turned
from tests.e2e.test_pictures import PICTURES
from tests.photos import scene

SPEC = PhotoSpec()
PLAIN = scene(3, 0)
ANOTHER = scene(9, 1)
LARGE = scene(3, 0, (1200, 900))


def read(data: bytes) -> NDArray[np.int64]:
    return SPEC.read(data, Caps()).astype(np.int64)


def difference(data: bytes, reference: Image.Image = PLAIN) -> float:
    """Mean absolute difference of what the meta-model sees, of 255."""
    return float(np.abs(read(data) - read(encoded(reference))).mean())


def lab(picture: Image.Image) -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    found = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
    assert found is not None
    return found


SAVED: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: encoded(PLAIN, "JPEG"),
    "progressive JPEG": lambda: encoded(PLAIN, "JPEG", progressive=True),
    "several frames in a JPEG": lambda: encoded(PLAIN, "MPO", save_all=True, append_images=[ANOTHER]),
    "WebP": lambda: encoded(PLAIN, "WEBP"),
    "TIFF": lambda: encoded(PLAIN, "TIFF"),
    "BMP": lambda: encoded(PLAIN, "BMP"),
    "CMYK JPEG": lambda: encoded(PLAIN.convert("CMYK"), "JPEG"),
    "CMYK TIFF": lambda: encoded(PLAIN.convert("CMYK"), "TIFF"),
    "LAB TIFF": lambda: encoded(lab(PLAIN), "TIFF"),
    "palette": lambda: encoded(PLAIN.quantize(256)),
    "GIF": lambda: encoded(PLAIN, "GIF"),
    "animated GIF": lambda: encoded(PLAIN, "GIF", save_all=True, append_images=[ANOTHER]),
    "animated WebP": lambda: encoded(PLAIN, "WEBP", save_all=True, append_images=[ANOTHER]),
    "animated PNG": lambda: encoded(PLAIN, save_all=True, append_images=[ANOTHER]),
    "opaque RGBA": lambda: encoded(PLAIN.convert("RGBA")),
    **{f"EXIF {tag}": lambda tag=tag: turned(PLAIN, tag) for tag in range(1, 9)},
}


@pytest.mark.parametrize("saved", SAVED)
def test_a_photograph_is_the_same_however_it_is_saved(saved: str) -> None:
    assert difference(SAVED[saved]()) < 3 < difference(encoded(ANOTHER))


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "P", "RGBA"])
def test_a_large_one_too(mode: str) -> None:
    """What is worked on is smaller, whatever the colours are stored as."""
    data = encoded(LARGE.quantize(256) if mode == "P" else LARGE.convert(mode), "TIFF")
    assert max(Picture.decode(data, Caps()).shape) <= MAX_WORKING_SIDE
    assert difference(data, LARGE) < 3


@pytest.mark.parametrize("size", [(96, 72), (1200, 900)])
@pytest.mark.parametrize(
    ("format", "dtype", "white"),
    [
        ("PNG", np.uint16, 65535),
        ("TIFF", np.uint16, 4095),
        ("TIFF", np.int32, 65535),
        ("TIFF", np.float32, 1),
        ("TIFF", np.float32, 255),
    ],
)
def test_depth_does_not_matter(size: tuple[int, int], format: str, dtype: type, white: float) -> None:
    grey = np.array(scene(3, 0, size).convert("L")) // 2 + 100
    grey[0, 0] = 255
    deep = Image.fromarray((grey.astype(np.float64) * (white / 255)).astype(dtype))
    assert difference(encoded(deep, format), Image.fromarray(grey)) < 1


def test_the_middle_square_is_seen_in_colour() -> None:
    wide = Image.new("RGB", (300, 100), (255, 0, 0))
    wide.paste((0, 0, 255), (100, 0, 200, 100))
    assert (read(encoded(wide))[:, :, 2:-2].mean((1, 2)) == [0, 0, 255]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (3000, 2), (2, 5), (32, 32)])
def test_any_shape_is_read(size: tuple[int, int]) -> None:
    assert read(encoded(PLAIN.resize(size))).shape == SPEC.shape


def test_a_picture_of_one_colour_is_a_photograph_if_no_drawing() -> None:
    night = encoded(Image.new("RGB", (40, 30), (3, 3, 9)))
    assert (read(night).mean((1, 2)) == [3, 3, 9]).all()
    with pytest.raises(UnreadableInput, match="no drawing found"):
        DrawingSpec().read(night, Caps())


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "empty_image", "no bytes"),
        (b"hello", "undecodable_image", "known format"),
        (b"\0\0\0\x18ftypheic" + bytes(16), "undecodable_image", "this is HEIC: convert it"),
        (b"\0\0\0\x18ftypavif" + bytes(16), "undecodable_image", "this is AVIF: convert it"),
        (encoded(PLAIN, "JPEG")[:900], "undecodable_image", "truncated"),
        (encoded(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"), "undecodable_image", "not finite"),
        (bomb(), "image_too_large", "pixels"),
        (bytes(Caps().image_bytes + 1), "image_too_large", "bytes"),
        (encoded(Image.new("1", (6000, 6000))), "image_too_large", "6000x6000"),
    ],
)
def test_a_bad_one_says_what_is_wrong(data: bytes, code: str, words: str) -> None:
    with pytest.raises(UnreadableInput, match=words) as error:
        read(data)
    assert error.value.code == code
    assert error.value.status == (413 if code == "image_too_large" else 422)


@pytest.mark.parametrize("picture", PICTURES)
def test_drawings_look_drawn(picture: str) -> None:
    assert all(looks_drawn(Picture.decode(PICTURES[picture](kind), Caps())) for kind in range(3))


@pytest.mark.parametrize("size", [(32, 32), (96, 72), (400, 300)])
def test_photographs_do_not(size: tuple[int, int]) -> None:
    assert not any(looks_drawn(Picture.decode(encoded(scene(kind, 0, size), "JPEG"), Caps())) for kind in range(20))


def test_eight_pixels_are_enough_to_look_drawn() -> None:
    assert looks_drawn(np.asarray(sketch(1, 1, 105).resize((8, 8), Image.Resampling.BOX)))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_damaged_file_is_read_or_refused(format: str) -> None:
    """Bytes changed, moved and missing: nothing but an answer comes of it."""
    rng = np.random.default_rng(len(format))
    whole = np.frombuffer(encoded(PLAIN, format), np.uint8)
    refused = set[str]()
    for _ in range(150):
        data = whole.copy()
        places = rng.integers(len(data), size=rng.integers(1, 9))
        data[places] = rng.integers(0, 256, len(places))
        cut = rng.integers(len(data) // 2, len(data) + 1)
        try:
            assert read(data[:cut].tobytes()).shape == SPEC.shape
        except UnreadableInput as error:
            refused.add(error.code)
    assert refused
    assert refused <= {"undecodable_image", "image_too_large"}
