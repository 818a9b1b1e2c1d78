"""What a user holds a photograph in, and what client, command line and demo make of it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from innerloop.cli import app
from innerloop.client import Client
from innerloop.client.inputs import SENT_SIDE, as_content
from innerloop.demo_photos import PHOTOGRAPHS, SHOTS, by_colour, patch, photographs, play
from innerloop.embedded import Embedded
from meta_models.inputs import Caps, PhotoSpec
from meta_models.inputs.picture import MAX_WORKING_SIDE
from tests.drawings import encoded, turned
from tests.photos import jpeg, scene, taken

LARGE = (1600, 1200)


def seen(given: Any) -> np.ndarray:
    return PhotoSpec().read(as_content(given), Caps())


def deep(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L")).astype(np.uint16) * 257


@pytest.mark.parametrize(
    "file",
    [
        *(turned(scene(3, 0), tag) for tag in (1, 3, 6, 8)),
        jpeg(3, 0, LARGE),
        encoded(scene(3, 0, LARGE).quantize(256)),
        encoded(scene(3, 0, LARGE).convert("1")),
        encoded(scene(3, 0, LARGE).convert("RGBA")),
        encoded(Image.fromarray(deep(scene(3, 0)))),
        encoded(Image.frombytes("I;16B", scene(3, 0).size, deep(scene(3, 0)).astype(">u2").tobytes()), "TIFF"),
    ],
    ids=[
        *("upright", "EXIF 3", "EXIF 6", "EXIF 8", "large", "large palette", "large 1 bit", "large RGBA"),
        *("16 bits", "16 bits of ImageJ"),
    ],
)
def test_an_opened_file_is_sent_as_the_file_would_be(file: bytes) -> None:
    assert (seen(Image.open(io.BytesIO(file))) == seen(file)).all()


def test_a_telephones_picture_is_not_too_large_to_send() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)
    assert len(as_content(Image.fromarray(noise))) < Caps().image_bytes < noise.nbytes
    assert SENT_SIDE >= MAX_WORKING_SIDE, "nothing is lost that the server would look at"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, (label, data) in enumerate(taken(2, 3, first=200)):
        (tmp_path / "classes" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "classes" / label / f"{i}.jpg").write_bytes(data)
    return tmp_path / "classes"


def ran(server: Embedded, *arguments: str) -> Any:
    found = CliRunner().invoke(app, [*arguments, "--url", server.url, "--json"])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_the_command_line_takes_folders_and_tables_of_them(server: Embedded, folder: Path) -> None:
    table = folder.parent / "photos.csv"
    with table.open("w", newline="") as file:
        written = csv.writer(file)
        written.writerow(["path", "label"])
        written.writerows((path.relative_to(folder.parent), path.parent.name) for path in sorted(folder.glob("*/*")))
    model = ran(server, "adapt", str(folder))
    assert ran(server, "adapt", str(table), "--meta-model", "photo")["id"] == model["id"]
    query = folder.parent / "query.webp"
    query.write_bytes(encoded(scene(201, 9, LARGE), "WEBP"))
    assert ran(server, "predict", model["id"], str(query))[0]["scores"][0]["label"] == "class 1"
    assert ran(server, "evaluate", model["id"], str(folder))["accuracy"] == 1


def test_halves_share_no_pixel() -> None:
    numbered = np.arange(300 * 401).reshape(300, 401, 1)
    rng = np.random.default_rng(0)
    left, right = (
        np.concatenate([patch(numbered, rng, half=half).ravel() for _ in range(200)])  # pyright: ignore[reportArgumentType]
        for half in (0, 1)
    )
    assert not np.intersect1d(left, right).size


def test_colours_tell_what_differs_in_colour_alone() -> None:
    black, white = (np.full((2, 2, 3), value, np.uint8) for value in (0, 255))
    support = [("black", black), ("white", white)]
    assert by_colour(support, [("black", black), ("black", white)]) == 0.5


def test_the_demo_plays(server: Embedded) -> None:
    shown = photographs()
    assert set(shown) == set(PHOTOGRAPHS)
    assert {pixels.shape[2] for pixels in shown.values()} == {3}
    with Client(server.url) as client:
        cell = play(client, shown, n_shot=SHOTS[1], rounds=2)
    chance = 100 / len(PHOTOGRAPHS)
    assert cell.ours.mean() > 2 * chance
    assert cell.colours.mean() > 2 * chance
    assert all("±" in worded for worded in cell.worded())
