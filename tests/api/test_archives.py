"""Archives that are damaged in every way that a zip file can be: each is told as the client's, none as a fault."""

from __future__ import annotations

import io
import zipfile

import pytest

from adapter.errors import TooLarge, Unprocessable
from api.archives import unzip


def zipped(name: str = "bee/1.png", how: int = zipfile.ZIP_DEFLATED, content: bytes = b"drawing" * 100) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def changed(data: bytes, at: int, to: bytes) -> bytes:
    return data[:at] + to + data[at + len(to) :]


def directory(data: bytes) -> int:
    return data.index(b"PK\1\2")


WHOLE, STORED = zipped(), zipped(how=zipfile.ZIP_STORED)
AT = directory(WHOLE)
DAMAGED = {
    "newer than any": changed(WHOLE, AT + 6, b"\x63\0"),
    "no UTF-8 in its name": changed(changed(WHOLE, AT + 8, b"\0\x08"), AT + 46, b"\xff\xfe"),
    "content that is no deflate": changed(WHOLE, 39, b"\xff" * 8),
    "cut off inside": WHOLE[: AT - 8] + WHOLE[AT:],
    "longer than it is": changed(STORED, directory(STORED) + 20, b"\xff\xff\0\0" * 2),
    "LZMA": zipped(how=zipfile.ZIP_LZMA),
    "bzip2": zipped(how=zipfile.ZIP_BZIP2),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_told_as_the_clients(name: str) -> None:
    with pytest.raises(Unprocessable) as told:
        unzip(DAMAGED[name])
    assert told.value.code == "undecodable_archive"


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_folder_is_a_class(how: int) -> None:
    [payload] = unzip(zipped(how=how))
    assert (payload.label, payload.content) == ("bee", b"drawing" * 100)


def of_windows(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.create_system = 0
            archive.writestr(info, b"" if name.endswith("\\") else b"drawing")
    return file.getvalue()


def test_backslashes_of_windows_part_folders() -> None:
    found = unzip(of_windows("set\\", "set\\bee\\", "set\\bee\\1.png", "set\\wasp\\1.png", "set\\Thumbs.db"))
    assert [(p.label, p.pointer) for p in found] == [
        ("bee", "archive/set/bee/1.png"),
        ("wasp", "archive/set/wasp/1.png"),
    ]
    with pytest.raises(Unprocessable, match=r"'1\.png' is in no class folder"):
        unzip(of_windows("1.png"))
    with pytest.raises(Unprocessable, match="do not stand side by side"):
        unzip(of_windows("bee\\1.png", "..\\..\\wasp\\2.png"))


def test_a_backslash_belongs_to_a_name_elsewhere() -> None:
    [payload] = unzip(zipped("a\\b/1.png"))
    assert payload.label == "a\\b"


@pytest.mark.parametrize("name", [".", "./", "__MACOSX/bee/1.png", "bee/.DS_Store", "bee/Thumbs.db"])
def test_what_systems_add_is_passed_over(name: str) -> None:
    assert unzip(zipped(name)) == []


def test_what_has_no_name_is_passed_over() -> None:
    """`ZipInfo.is_dir` of Python 3.11 looks for its last letter."""
    assert unzip(WHOLE.replace(b"bee/1.png", b"\0ee/1.png")) == []


def test_a_list_of_files_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(unzip(WHOLE)) == 1
    monkeypatch.setattr("api.archives._Opened.limit", len(WHOLE) - AT - 23)  # without the record of the end, less one
    with pytest.raises(TooLarge, match="its list of files"):
        unzip(WHOLE)
