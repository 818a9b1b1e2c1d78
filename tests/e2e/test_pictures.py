"""Pictures as users have them: each is classified against a support set of plain dark-on-white PNGs."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from innerloop.embedded import Embedded
from tests.asking import META_MODELS, adapt, best, drawn, predict
from tests.drawings import b64, encoded, png, sketch, turned

KINDS = range(4)
SEEN = 100
"""The number of an example that is in no support set."""


def transparent(kind: int, ink: tuple[int, int, int], under: tuple[int, int, int]) -> bytes:
    """Ink where opaque; `under` is the colour that nobody sees, which editors leave as they like."""
    opacity = ImageOps.invert(sketch(kind, SEEN))
    image = Image.composite(Image.new("RGB", opacity.size, ink), Image.new("RGB", opacity.size, under), opacity)
    image.putalpha(opacity)
    return encoded(image)


def cut_out(kind: int, format: str) -> bytes:
    """One palette colour is transparent."""
    return encoded(sketch(kind, SEEN).convert("1").convert("P"), format, transparency=255)


def coloured(kind: int, paper: str, ink: str) -> bytes:
    return encoded(ImageOps.colorize(sketch(kind, SEEN), ink, paper))


def sixteen_bit(kind: int, format: str, white: int = 65535) -> bytes:
    grey = np.asarray(sketch(kind, SEEN)).astype(np.uint32) * white // 255
    return encoded(Image.fromarray(grey.astype(np.uint16)), format)


def large(kind: int, mode: str) -> bytes:
    """Larger than what is worked on, so shrunk first."""
    shown = sketch(kind, SEEN, 1500)
    return encoded(
        Image.fromarray(np.asarray(shown).astype(np.uint16) * 257) if mode == "I;16" else shown.convert(mode)
    )


def on_a_page(kind: int) -> bytes:
    """Small, and not in the middle."""
    page = Image.new("L", (420, 300), 255)
    page.paste(sketch(kind, SEEN), (300, 15))
    return encoded(page)


def scanned(kind: int) -> bytes:
    """Noise, and light that falls off to one side."""
    grey = np.asarray(sketch(kind, SEEN, 200)) * np.linspace(0.75, 1, 200) + np.random.default_rng(kind).normal(
        0, 4, (200, 200)
    )
    return encoded(Image.fromarray(grey.clip(0, 255).astype(np.uint8)), "JPEG", quality=70)


PICTURES: dict[str, Callable[[int], bytes]] = {
    "20 pixels": lambda kind: png(kind, SEEN, 20),
    "28 pixels": lambda kind: png(kind, SEEN, 28),
    "500 pixels": lambda kind: png(kind, SEEN, 500),
    "2000 pixels": lambda kind: png(kind, SEEN, 2000),
    "wide": lambda kind: encoded(ImageOps.pad(sketch(kind, SEEN), (400, 105), color=255)),
    "tall": lambda kind: encoded(ImageOps.pad(sketch(kind, SEEN), (105, 400), color=255)),
    "small on a page": on_a_page,
    "RGB": lambda kind: encoded(sketch(kind, SEEN).convert("RGB")),
    "white on black": lambda kind: encoded(sketch(kind, SEEN, paper=0, ink=255)),
    "grey on grey": lambda kind: encoded(sketch(kind, SEEN, paper=200, ink=120)),
    "light grey on dark grey": lambda kind: encoded(sketch(kind, SEEN, paper=40, ink=120)),
    "red on white": lambda kind: coloured(kind, "white", "red"),
    "yellow on black": lambda kind: coloured(kind, "black", "yellow"),
    "yellow on white": lambda kind: coloured(kind, "white", "yellow"),
    "white on green": lambda kind: coloured(kind, "green", "white"),
    "red on green as bright": lambda kind: coloured(kind, "rgb(0,130,0)", "rgb(255,0,0)"),
    "transparent, black ink": lambda kind: transparent(kind, (0, 0, 0), (0, 0, 0)),
    "transparent, black ink over hidden white": lambda kind: transparent(kind, (0, 0, 0), (255, 255, 255)),
    "transparent, white ink": lambda kind: transparent(kind, (255, 255, 255), (255, 255, 255)),
    "transparent, white ink over hidden black": lambda kind: transparent(kind, (255, 255, 255), (0, 0, 0)),
    "transparent, blue ink": lambda kind: transparent(kind, (0, 0, 200), (0, 0, 0)),
    "transparent, yellow ink": lambda kind: transparent(kind, (255, 255, 0), (255, 255, 255)),
    "palette": lambda kind: encoded(sketch(kind, SEEN).convert("P")),
    "palette with a transparent colour": lambda kind: cut_out(kind, "PNG"),
    "GIF with a transparent colour": lambda kind: cut_out(kind, "GIF"),
    "one bit": lambda kind: encoded(sketch(kind, SEEN).convert("1")),
    "16 bits": lambda kind: sixteen_bit(kind, "PNG"),
    "12 bits of 16": lambda kind: sixteen_bit(kind, "PNG", 4095),
    "16-bit TIFF": lambda kind: sixteen_bit(kind, "TIFF"),
    **{f"1500 pixels, {mode}": lambda kind, mode=mode: large(kind, mode) for mode in ("1", "P", "LA", "I;16")},
    "WebP": lambda kind: encoded(sketch(kind, SEEN), "WEBP"),
    "GIF": lambda kind: encoded(sketch(kind, SEEN), "GIF"),
    "animated GIF": lambda kind: encoded(sketch(kind, SEEN), "GIF", save_all=True, append_images=[sketch(9, 1)]),
    "TIFF": lambda kind: encoded(sketch(kind, SEEN), "TIFF"),
    "BMP": lambda kind: encoded(sketch(kind, SEEN), "BMP"),
    "CMYK JPEG": lambda kind: encoded(sketch(kind, SEEN).convert("RGB").convert("CMYK"), "JPEG"),
    "bad JPEG": lambda kind: encoded(sketch(kind, SEEN), "JPEG", quality=10),
    "scan": scanned,
    **{f"EXIF {turn}": lambda kind, turn=turn: turned(sketch(kind, SEEN, 200), turn) for turn in range(1, 9)},
}


@pytest.fixture(scope="module")
def models(server: Embedded) -> Iterator[list[str]]:
    """One model of each meta-model."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield [adapt(client, drawn(4, 3, first=0), meta_model=name)["id"] for name in META_MODELS]


@pytest.mark.parametrize("picture", PICTURES)
def test_picture_is_classified_rightly(http: httpx.Client, models: list[str], picture: str) -> None:
    for model in models:
        results = predict(http, model, [PICTURES[picture](kind) for kind in KINDS])
        assert not [r["error"] for r in results if r.get("error")]
        assert best(results) == [f"class {kind}" for kind in KINDS]


def test_pictures_of_all_sorts_make_a_support_set(http: httpx.Client) -> None:
    """The other way round: adapted to a mixture, asked plainly."""
    sorts = ["white on black", "transparent, white ink", "EXIF 6", "16 bits", "WebP", "500 pixels"]
    examples = [(f"class {kind}", PICTURES[sort](kind)) for kind in KINDS for sort in sorts[kind % 2 :: 2]]
    for name in META_MODELS:
        model = adapt(http, examples, meta_model=name)
        assert best(predict(http, model["id"], [png(kind, 50) for kind in KINDS])) == [f"class {k}" for k in KINDS]


def shape(name: str, size: int) -> bytes:
    """Shapes that even eight pixels can show."""
    image = Image.new("L", (size * 16, size * 16), 255)
    draw, near, far, pen = ImageDraw.Draw(image), size * 2, size * 14, size * 2
    match name:
        case "ring":
            draw.ellipse((near, near, far, far), outline=0, width=pen)
        case "cross":
            draw.line((near, near, far, far), fill=0, width=pen)
            draw.line((near, far, far, near), fill=0, width=pen)
        case "stroke":
            draw.line((size * 8, near, size * 8, far), fill=0, width=pen)
    return encoded(image.resize((size, size), Image.Resampling.BOX))


def test_eight_pixels(http: httpx.Client) -> None:
    shapes = ["ring", "cross", "stroke"]
    for name in META_MODELS:
        model = adapt(http, [(s, shape(s, 105)) for s in shapes], meta_model=name)
        for size in (8, 11, 16):
            assert best(predict(http, model["id"], [shape(s, size) for s in shapes])) == shapes, f"{size} pixels"


def test_base64_as_browsers_and_tools_write_it(http: httpx.Client, models: list[str]) -> None:
    """A data URL, lines of 76 characters, the URL-safe alphabet, and a picture whose base64 needs no padding."""
    data = png(2, SEEN)
    plain = b64(data)
    forms = {
        "plain": plain,
        "data URL": f"data:image/png;base64,{plain}",
        "upper-case data URL": f"DATA:IMAGE/PNG;BASE64,{plain}",
        "lines": base64.encodebytes(data).decode(),
        "lines with CRLF": base64.encodebytes(data).decode().replace("\n", "\r\n"),
        "URL-safe": base64.urlsafe_b64encode(data).decode(),
        "no padding": plain.rstrip("="),
    }
    inputs = [{"id": form, "image": text} for form, text in forms.items()]
    answer = http.post(f"/v1/models/{models[0]}/predictions", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    scores = {r["id"]: r.get("scores") for r in answer.json()["results"]}
    assert scores["plain"]
    assert scores == dict.fromkeys(forms, scores["plain"])
