"""Whatever a user holds an input in, as the bytes of a file or as text. Knows numpy and Pillow."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Input = bytes | str | Path | Image.Image | NDArray[Any] | tuple[NDArray[Any], int]
    """The bytes of a file, its path, a text, a Pillow image, pixels (height, width[, channels]), or samples
    (n_samples[, channels]) with their number a second."""

IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
SOUNDS = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"}
SUFFIXES = {*IMAGES, *SOUNDS, ".npy", ".txt"}
"""What a string of one word may end with to be a path, be there such a file or not."""

_PICTURE = re.compile(
    rb"%PDF-|(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*|<!--(?:(?!-->).)*-->\s*|<!DOCTYPE[^>]*>\s*)*<svg[\s>]", re.DOTALL
)
"""Files that are UTF-8 and no text: the server says what to do with them."""

CLUTTER = {"thumbs.db", "desktop.ini"}
"""What a system puts into folders by itself, besides names that begin with a dot."""

MAX_CHANNELS = 16
"""Of a sound."""

SENT_SIDE = 1024
"""Longest side, in pixels, of what is sent of a picture that is no file; a file goes as it is."""


def as_content(given: Input) -> bytes | str:
    """The bytes of a file, or a text.

    Args:
        given: bytes are taken as they are; a `Path` is read, and a string where it names a file or looks as if it did;
            every other string is a text; pixels are uint8, bool, or floats in [0, 1]; samples are int16, or floats of
            full scale 1.

    Raises:
        TypeError: it is nothing of the kind.
        ValueError: pixels or samples of a shape or range that is no picture or sound.
        OSError: the file cannot be read.
    """
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    if isinstance(given, Path) or (isinstance(given, str) and names_file(given)):
        return Path(given).read_bytes()
    if isinstance(given, str) and len(given) < 256 and "/" in given and "\0" not in given and Path(given).is_dir():
        raise IsADirectoryError(f"{given} is a folder; name the files in it")
    if isinstance(given, str):
        return str(given)
    from PIL import Image

    if isinstance(given, Image.Image):
        return _png(given)
    import numpy as np

    if isinstance(given, np.ndarray):
        return _png(Image.fromarray(_pixels(given)))
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], np.ndarray):
        return _wav(*given)
    kinds = "bytes, a path, a text, a Pillow image, an array of pixels or (samples, rate)"
    raise TypeError(f"an input is {kinds}, not {type(given).__name__}")


def listed(given: Any, what: str) -> list[Any]:
    """A list, array or column of a data frame as a list.

    Raises:
        ValueError: it is a single text or path, which Python would take for its characters.
    """
    if isinstance(given, str | bytes | Path):
        kind = type(given).__name__
        raise ValueError(f"{what} come as a list, found one {kind}; put it in brackets: [{given!r:.60}]")
    return list(given)


def is_npy(data: bytes) -> bool:
    """Whether a file is a `.npy` one, by its first bytes."""
    return data.startswith(b"\x93NUMPY")


def is_sound(data: bytes) -> bool:
    """Whether a file is a sound by its first bytes: WAV, FLAC, OGG or MP3, or what telephones and browsers record, of
    which the server says that it must be converted."""
    if data[:4] in (b"RIFF", b"RF64"):
        return data[8:12] == b"WAVE"
    # Eleven bits that begin a frame of MPEG, then those of its layer III.
    is_frame = data[:1] == b"\xff" and data[1:2] >= b"\xe0" and data[1] & 6 == 2
    return data[:4] in (b"fLaC", b"OggS") or data[:3] == b"ID3" or is_frame or _is_container(data)


def _is_container(data: bytes) -> bool:
    """WebM or Matroska, MP4 or M4A, AIFF."""
    is_mp4 = data[4:8] == b"ftyp" and data[8:11] in (b"M4A", b"mp4", b"iso")
    return data[:4] == b"\x1aE\xdf\xa3" or is_mp4 or (data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"))


def names_file(text: object) -> bool:
    """Whether a string is taken for a path: it names a file, or looks as if it did."""
    if not isinstance(text, str):
        return isinstance(text, Path)
    one_word = len(text.split()) == 1
    if one_word and Path(text).suffix.lower() in SUFFIXES:
        return True
    return len(text) < 256 and "\n" not in text and "\0" not in text and Path(text).is_file()


def is_text(data: bytes) -> bool:
    """Whether a file is one of text: UTF-8 without control characters, and no picture in words."""
    try:
        start = data.decode()
    except UnicodeDecodeError:
        return False
    is_plain = start.strip() and not re.search("[\x00-\x08\x0e-\x1f]", start[:4096])
    return bool(is_plain) and not _PICTURE.match(data[:4096])


def read_folder(folder: Path) -> list[tuple[str, Path]]:
    """(label, file) pairs of a folder that holds a folder per class.

    Raises:
        ValueError: it has no class folders with files.
    """
    pairs = [
        (child.name, file)
        for child in sorted(folder.iterdir())
        if child.is_dir() and not child.name.startswith(".")
        for file in sorted(child.iterdir())
        if file.is_file() and not file.name.startswith(".") and file.name.lower() not in CLUTTER
    ]
    if not pairs:
        raise ValueError(f"{folder} must hold one folder per class, each with its examples")
    return pairs


def _pixels(array: NDArray[Any]) -> NDArray[np.uint8]:
    import numpy as np

    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ValueError(f"pixels are (height, width) or (height, width, 1, 3 or 4), not {array.shape}")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(array.min()), float(array.max())
        if 0 <= low <= high <= 1:
            return np.rint(array * 255).astype(np.uint8)
        raise ValueError(f"pixels in floats are in [0, 1], these from {low:g} to {high:g}; divide by the largest value")
    fits = array.dtype.kind in "iu" and 0 <= array.min(initial=0) <= array.max(initial=0) <= 255
    advice = "use .astype('uint8')" if fits else "divide by the largest value there can be"
    raise ValueError(f"pixels are uint8, bool, or floats in [0, 1], not {array.dtype}; {advice}")


def _png(picture: Image.Image) -> bytes:
    """Upright, and no larger than a server looks at: the twelve megapixels of a telephone would be too many bytes."""
    from PIL import ImageOps

    file = io.BytesIO()
    picture = ImageOps.exif_transpose(picture)
    if picture.mode not in {"1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"}:
        picture = picture.convert("RGB")
    if max(picture.size) > SENT_SIDE and not picture.mode.startswith("I"):
        grey = picture.mode in {"1", "L"}
        picture = picture.convert("RGBA" if picture.has_transparency_data else "L" if grey else "RGB")
        picture = picture.reduce(-(-max(picture.size) // SENT_SIDE))
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _wav(samples: NDArray[Any], rate: int) -> bytes:
    """16-bit PCM. Floats beyond full scale make everything softer: loudness does not matter, clipping would."""
    import wave

    import numpy as np

    if samples.ndim not in (1, 2) or not samples.size:
        raise ValueError(f"samples are (n_samples,) or (n_samples, channels), not {samples.shape}")
    if samples.ndim == 2 and samples.shape[1] > MAX_CHANNELS:
        raise ValueError(f"samples are (n_samples, channels), not {samples.shape}; transpose them: .T")
    if not rate >= 1:
        raise ValueError(f"samples come with their number a second, not {rate}")
    if np.issubdtype(samples.dtype, np.floating):
        if not np.isfinite(samples).all():
            raise ValueError("samples must be finite")
        samples = np.rint(samples * (32767 / max(1.0, float(np.abs(samples).max()))))
    elif samples.dtype != np.int16:
        raise ValueError(f"samples are int16, or floats of full scale 1, not {samples.dtype}")
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        sound.setsampwidth(2)
        sound.setframerate(int(rate))
        sound.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()
