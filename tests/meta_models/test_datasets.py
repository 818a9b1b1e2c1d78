"""Download, verify, pack: the real code against a small server on loopback."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from meta_models import datasets
from meta_models.datasets import DataError, fetch, load_omniglot
from meta_models.inputs.drawing import DrawingSpec
from tests.drawings import sketch


def official_zip(folder: str, first_code: int, n_characters: int) -> bytes:
    """A zip laid out as the authors': alphabet / character / code_drawer.png."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for c in range(n_characters):
            code = first_code + c
            for drawer in range(1, 21):
                picture = io.BytesIO()
                sketch(code, drawer).convert("1").save(picture, "PNG")
                name = f"{folder}/Alphabet_{code % 2}/character{c + 1:02d}/{code:04d}_{drawer:02d}.png"
                archive.writestr(name, picture.getvalue())
    return file.getvalue()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server that has both archives of a very small Omniglot; yields its folder."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "images_background.zip").write_bytes(official_zip("images_background", 1, 4))
    (folder / "images_evaluation.zip").write_bytes(official_zip("images_evaluation", 5, 3))
    sums = {p.name: hashlib.md5(p.read_bytes(), usedforsecurity=False).hexdigest() for p in sorted(folder.iterdir())}
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        monkeypatch.setattr(datasets, "OMNIGLOT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(datasets, "OMNIGLOT_MD5", sums)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder
        server.shutdown()
        thread.join()


def test_downloads_verifies_and_packs(mirror: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    omniglot = load_omniglot(tmp_path / "data", on_bytes=lambda done, total: seen.append((done, total)))
    assert omniglot.strokes.shape == (7, 20, 105, 105)
    assert omniglot.is_background.tolist() == [True] * 4 + [False] * 3
    assert np.array_equal(omniglot.strokes[4, 9], np.asarray(sketch(5, 10).convert("1")) == 0)
    assert seen[-1][0] == seen[-1][1] > 0
    pool = omniglot.pool(DrawingSpec())
    assert pool.n_classes == 7
    assert pool.inputs.shape == (140, 1, 28, 28)


def test_a_second_load_needs_no_network(mirror: Path, tmp_path: Path) -> None:
    load_omniglot(tmp_path / "data")
    for path in mirror.iterdir():
        path.unlink()
    assert load_omniglot(tmp_path / "data").strokes.any()


def test_damaged_download_is_refused(mirror: Path, tmp_path: Path) -> None:
    (mirror / "images_background.zip").write_bytes(b"not the archive")
    with pytest.raises(DataError, match="damaged"):
        load_omniglot(tmp_path / "data")


def test_absent_server_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="by hand"):
        fetch("http://127.0.0.1:9/x.zip", tmp_path / "x.zip", "0" * 32)


def test_vinyals_split_has_the_published_sizes() -> None:
    import json

    split = json.loads(datasets.VINYALS_SPLIT.read_text())
    assert (len(split["val"]), len(split["test"])) == (172, 423)
    assert not set(split["val"]) & set(split["test"])
