"""The same drawing however it was made."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageOps

from meta_models.inputs.drawing import DrawingSpec
from meta_models.inputs.picture import BlankImageError, Picture, preprocess
from meta_models.inputs.reading import Caps
from tests.drawings import encoded, sketch, turned
from tests.photos import scene

SPEC = DrawingSpec()


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean absolute difference of what the meta-model sees, 0 to 1."""
    there, here = preprocess(a, SPEC).astype(float), preprocess(b, SPEC).astype(float)
    return float(np.abs(there - here).mean()) / 255


@pytest.fixture
def plain() -> Image.Image:
    return sketch(3, 0, 210)


def test_shape_and_range(plain: Image.Image) -> None:
    out = preprocess(plain, SPEC)
    assert out.shape == SPEC.shape == (1, 28, 28)
    assert out.dtype == np.uint8
    assert out.max() == 255
    assert out.min() == 0


def test_polarity_and_colour_do_not_matter(plain: Image.Image) -> None:
    inverted = ImageOps.invert(plain)
    red_on_yellow = ImageOps.colorize(plain, black="red", white="yellow")
    assert difference(plain, inverted) == 0
    assert difference(plain, red_on_yellow) < 0.01


def test_place_and_size_do_not_matter(plain: Image.Image) -> None:
    page = Image.new("L", (900, 700), 255)
    page.paste(plain, (600, 50))
    assert difference(plain, page) < 0.03
    assert difference(plain, plain.resize((420, 420))) < 0.05


@pytest.mark.parametrize("ink", [0, 255])
def test_transparency(plain: Image.Image, ink: int) -> None:
    layer = Image.new("RGBA", plain.size, (ink, ink, ink, 0))
    layer.putalpha(ImageOps.invert(plain))
    assert difference(plain, layer) < 0.01


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("size", [(2400, 1800), (4000, 3000)])
def test_a_large_jpeg_is_read_as_its_pixels_are(size: tuple[int, int], orientation: int) -> None:
    file = turned(scene(1, 0).resize(size, Image.Resampling.BICUBIC), orientation)
    with Image.open(io.BytesIO(file)) as whole:
        pixels = encoded(ImageOps.exif_transpose(whole), "BMP")
    read, expected = Picture.decode(file, Caps()), Picture.decode(pixels, Caps(image_bytes=len(pixels)))
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).mean() < 1


def test_exif_rotation(plain: Image.Image) -> None:
    turned = plain.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    turned.getexif().update(exif)
    turned.info["exif"] = exif.tobytes()
    assert difference(plain, turned) == 0


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("written", [b"garbage!!", b"II*\0\xff\xff\xff\x7f", b""])
def test_a_camera_that_wrote_nonsense_of_itself(plain: Image.Image, kind: str, written: bytes) -> None:
    file = encoded(plain, kind, exif=b"Exif\0\0" + written)
    np.testing.assert_array_equal(Picture.decode(file, Caps()), Picture.decode(encoded(plain, kind), Caps()))


def test_sixteen_bits(plain: Image.Image) -> None:
    deep = Image.fromarray(np.asarray(plain).astype(np.uint16) * 257)
    assert difference(plain, deep) < 0.01


@pytest.mark.parametrize("scale", [1, 16, 257])
def test_a_large_deep_picture_is_shrunk_before_it_is_floats(scale: int) -> None:
    """As it would be in 8 bits, but for rounding, in the memory of what is looked at."""
    large = sketch(3, 0, 4000)
    expected = np.asarray(large.reduce(4))
    deep = Image.fromarray(np.asarray(large).astype(np.uint16) * scale)
    file = encoded(deep)
    tracemalloc.start()
    try:
        pixels = Picture.decode(file, Caps())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pixels.shape == expected.shape
    np.testing.assert_allclose(pixels.astype(float) * (4095 / 4080 if scale == 16 else 1), expected, atol=1.01)
    assert peak < 5 * 8 * pixels.size


def test_the_largest_value_of_a_deep_picture_counts_before_it_is_shrunk() -> None:
    deep = np.full((3000, 3000), 1000, np.uint16)
    deep[5, 5] = 65535
    assert Picture.decode(encoded(Image.fromarray(deep)), Caps())[-1, -1] == round(1000 * 255 / 65535)


def test_a_thin_line_in_a_large_picture_stays_visible() -> None:
    page = Image.new("L", (3000, 3000), 255)
    for i in range(500, 2500):
        page.putpixel((i, i), 0)
        page.putpixel((i + 1, i), 0)
    out = preprocess(page, SPEC)[0]
    assert (np.diag(out)[4:24] > 100).all()


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_large_pictures_of_every_mode(mode: str) -> None:
    large = sketch(3, 0, 1500)
    there = Image.fromarray(np.asarray(large).astype(np.uint16) * 257) if mode == "I;16" else large.convert(mode)
    assert there.mode == mode
    assert difference(large, there) < 0.01


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "P"])
def test_blank_is_refused(mode: str) -> None:
    with pytest.raises(BlankImageError, match="no drawing found"):
        preprocess(Image.new(mode, (40, 40), 1 if mode == "1" else 0), SPEC)


def test_ink_that_vanishes_is_blank() -> None:
    page = Image.new("L", (1000, 1000), 255)
    page.putpixel((100, 100), 0)
    page.putpixel((900, 900), 0)
    with pytest.raises(BlankImageError, match="vanishes"):
        preprocess(page, SPEC)
