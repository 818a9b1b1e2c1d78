"""A zip with a folder for each class becomes labelled inputs."""

from __future__ import annotations

import io
import zipfile
from pathlib import PurePosixPath

from adapter.errors import TooLarge, Unprocessable
from api.decode import Payload

MAX_FILES = 10_000
MAX_RATIO = 200
"""Bytes of files for each byte of the archive."""
MAX_BYTES = 256 * 2**20
"""Of all archives of a form, unpacked."""
MAX_DIRECTORY = 4 * 2**20
"""Bytes of an archive's list of files: more than twice `MAX_FILES` need."""
_DOS = 0
"""The system of an archive whose maker may part folders by backslashes, as .NET did; elsewhere they belong to names."""


class _Opened(io.BytesIO):
    """An archive whose list of files is read while it is opened, in one piece."""

    limit: int | None = MAX_DIRECTORY

    def read(self, size: int | None = -1, /) -> bytes:
        if self.limit is not None and size is not None and size > self.limit:
            raise TooLarge(
                f"archive: its list of files has {size} bytes, at most {self.limit}", code="archive_too_large"
            )
        return super().read(size)


def unzip(data: bytes, room: int = MAX_BYTES) -> list[Payload]:
    """A folder per class, at most `room` bytes of files; what systems add by themselves is passed over.

    Raises:
        TooLarge: more than `room`, or more files than an archive may have.
        Unprocessable: not a zip file, one that cannot be read whole, or a file that is in no class folder.
    """
    opened = _Opened(data)
    try:
        archive = zipfile.ZipFile(opened)
    except TooLarge:
        raise
    except Exception as error:  # zipfile raises what it meets: struct, Unicode and notice of newer versions
        raise _undecodable(f"archive is not a zip file: {error}") from error
    opened.limit = None
    for entry in archive.infolist():
        if entry.create_system == _DOS:
            entry.filename = entry.filename.replace("\\", "/")
    entries = [e for e in archive.infolist() if not e.filename.endswith("/") and not _is_clutter(e.filename)]
    if len(entries) > MAX_FILES:
        raise TooLarge(f"archive has {len(entries)} files, at most {MAX_FILES}", code="archive_too_large")
    total = sum(e.file_size for e in entries)
    if total > room or total > MAX_RATIO * max(len(data), 1):
        raise TooLarge(f"archive unpacks to {total} bytes, more than allowed", code="archive_too_large")
    payloads: list[Payload] = []
    where: dict[PurePosixPath, str] = {}
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if len(path.parts) < 2:
            raise Unprocessable(
                f"archive: {entry.filename!r} is in no class folder", code="no_class_folder", pointer="archive"
            )
        where.setdefault(path.parent.parent, entry.filename)
        if entry.flag_bits & 1:
            raise _undecodable(f"archive: {entry.filename!r} is encrypted; zip it again without a password")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _undecodable(f"archive: {entry.filename!r} is compressed otherwise than by deflate; zip it again so")
        try:
            content = archive.read(entry)
        except Exception as error:  # likewise
            raise _undecodable(f"archive: {entry.filename!r}: {error or type(error).__name__}") from error
        payloads.append(Payload(content, f"archive/{entry.filename}", path.parent.name))
    if len(where) > 1:
        one, other, *_ = where.values()
        raise Unprocessable(
            f"archive: the class folders of {one!r} and {other!r} do not stand side by side; zip one folder that holds "
            "a folder per class, and the files of a class in it, not deeper",
            code="no_class_folder",
            pointer="archive",
        )
    return payloads


def _undecodable(detail: str) -> Unprocessable:
    return Unprocessable(detail, code="undecodable_archive", pointer="archive")


def _is_clutter(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return (
        not parts
        or any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts)
        or parts[-1].lower()
        in {
            "thumbs.db",
            "desktop.ini",
        }
    )
