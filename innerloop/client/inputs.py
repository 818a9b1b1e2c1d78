"""Whatever a user holds an input in, as the bytes of a file or as text. Knows numpy and Pillow."""

from __future__ import annotations

import io
import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innerloop.client.text_file import sendable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from PIL import Image

    Input = (
        bytes
        | str
        | Path
        | Image.Image
        | NDArray[Any]
        | tuple[NDArray[Any], int]
        | Sequence[float]
        | Mapping[str, str]
        | Mapping[str, Sequence[float]]
    )
    """The bytes of a file, its path, a text, a Pillow image, pixels (height, width[, channels]), samples
    (n_samples[, channels]) with their number a second, the numbers of a vector, or `{"text": "…"}` and
    `{"vector": [numbers]}` as HTTP has them."""

    Inputs = Iterable[Input] | ArrayLike
    """Many of them: a list, an array, a data frame or a column of one."""

    Label = str | float | np.number[Any]
    """A number is kept as its text."""

IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".svg"}
SOUNDS = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aiff", ".webm", ".mp4"}
SUFFIXES = {*IMAGES, *SOUNDS, ".npy"}
"""What a string may end with to be a path, be there such a file or not."""

WORD_SUFFIXES = {".txt", ".md", ".csv", ".pdf"}
"""The same of a string of one word: texts speak of such files."""

CLUTTER = {"thumbs.db", "desktop.ini"}
"""What a system puts into folders by itself, besides names that begin with a dot."""

MAX_CHANNELS = 16
"""Of a sound."""

SENT_SIDE = 1024
"""Longest side, in pixels, of what is sent of a picture that is no file; a file goes as it is."""


class Text(str):
    """A text for sure: never looked up as a file, however often it is read."""

    __slots__ = ()


def as_content(given: Input) -> bytes | str:
    """The bytes of a file, or a text.

    Args:
        given: bytes are taken as they are; a `Path` is read, and a string where it names a file or looks as if it did;
            every other string is a text, and so is that of `{"text": "…"}`, whatever it names; pixels are uint8, bool,
            or floats in [0, 1]; samples are int16, or floats of full scale 1; numbers with one axis are a vector.

    Raises:
        TypeError: it is nothing of the kind.
        ValueError: pixels, samples or numbers of a shape or range that is no picture, sound or vector, or a text with
            half of a character in it.
        OSError: the file cannot be read.
    """
    if isinstance(given, Text):
        return given
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    if isinstance(given, Path) or (isinstance(given, str) and names_file(given)):
        return Path(given).read_bytes()
    if isinstance(given, str) and len(given) < 256 and "/" in given and lies(given, Path.is_dir):
        raise IsADirectoryError(f"{given} is a folder; name the files in it")
    if isinstance(given, str):
        return Text(sendable(given))
    if isinstance(given, Mapping):
        return _of_mapping(given)
    from PIL import Image

    if isinstance(given, Image.Image):
        return _png(given)
    import numpy as np

    if isinstance(given, np.ndarray):
        return _vector(given) if given.ndim == 1 else _png(Image.fromarray(_pixels(given)))
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], np.ndarray):
        samples, rate = given
        return _wav(samples, rate)  # pyright: ignore[reportArgumentType] - of tuples only a sound's holds an array
    if isinstance(given, list | tuple) and given and all(isinstance(one, numbers.Real) for one in given):
        return _vector(given)
    kinds = "bytes, a path, a text, a Pillow image, an array of pixels, (samples, rate) or the numbers of a vector"
    raise TypeError(f"an input is {kinds}, not {type(given).__name__}")


def contents(inputs: Iterable[Input], what: str = "input") -> Iterator[bytes | str]:
    """`as_content` of each in turn.

    Raises:
        TypeError, ValueError, OSError: as there, and says which it is, counted from 0.
    """
    for i, given in enumerate(inputs):
        try:
            content = as_content(given)
        except OSError as error:
            if error.errno is None:
                raise type(error)(f"{what} {i}: {error}") from error
            raise type(error)(error.errno, f"{what} {i}: {error.strerror}", error.filename) from error
        except (TypeError, ValueError) as error:
            raise type(error)(f"{what} {i}: {error}") from error
        yield content


def listed(given: Any, what: str) -> list[Any]:
    """A list, array or column of a data frame as a list.

    Raises:
        ValueError: it is a single text or path, which Python would take for its characters, or another single value.
    """
    if isinstance(given, str | bytes | Path | Mapping) or not isinstance(given, Iterable):
        kind = type(given).__name__
        raise ValueError(f"{what} come as a list, found one {kind}; put it in brackets: [{given!r:.60}]")
    return list(given)


def listed_inputs(given: Any) -> list[Any]:
    """The same of inputs; of a data frame its rows.

    Raises:
        ValueError: it is a single input.
    """
    import numpy as np

    if hasattr(given, "to_numpy") and np.ndim(given) == 2:
        given = given.to_numpy()
    if isinstance(given, np.ndarray) and (one := _single(given)):
        raise ValueError(f"inputs come as a list, found {one} {given.shape}; put it in brackets")
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], np.ndarray) and np.ndim(given[1]) == 0:
        raise ValueError("inputs come as a list, found one sound; put it in brackets: [(samples, rate)]")
    return listed(given, "inputs")


def _single(array: NDArray[Any]) -> str:
    """What an array is that holds one input; empty where it holds several."""
    if array.ndim < 2 and array.dtype.kind in "biuf":
        return "one vector"
    # Rows of numbers are floats as a rule, and no picture is three or four pixels wide.
    is_picture = array.dtype.kind in "bu" and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4)))
    return "one picture" if is_picture else ""


def plain(value: Any) -> Any:
    """A number of numpy's as Python's own, which JSON can carry; everything else as it is."""
    return value.item() if hasattr(value, "item") else value


def label_text(label: Any, what: str) -> str:
    """A label as a server keeps it.

    Raises:
        TypeError: it is neither a text nor a number.
        ValueError: half of a character is in it.
    """
    label = plain(label)
    if isinstance(label, str) or (isinstance(label, numbers.Real) and label == label):  # NaN differs from itself
        try:
            return sendable(str(label))
        except ValueError as error:
            raise ValueError(f"the label of {what}: {error}") from error
    raise TypeError(f"a label is a text or a number, that of {what} is {label!r:.60}")


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
    if not isinstance(text, str) or isinstance(text, Text):
        return isinstance(text, Path)
    suffix = Path(text).suffix.lower()
    if len(text.split()) == 1 and suffix in SUFFIXES | WORD_SUFFIXES:
        return True
    if len(text) >= 256 or "\n" in text or "\0" in text:
        return False
    return suffix in SUFFIXES or lies(text, Path.is_file)


def lies(text: str, what: Callable[[Path], bool]) -> bool:
    """Whether there is a file or folder of that name; a text may be too long for one, or name what nobody may see."""
    try:
        return what(Path(text))
    except OSError:
        return False


def read_folder(folder: str | Path) -> list[tuple[str, Path]]:
    """(label, file) pairs of a folder that holds a folder per class.

    Raises:
        ValueError: it has no class folders with files, or one whose name is no label: it is not UTF-8.
        OSError: it cannot be read, or is no folder.
    """
    pairs = [
        (child.name, file)
        for child in sorted(Path(folder).iterdir())
        if child.is_dir() and not child.name.startswith(".")
        for file in sorted(child.iterdir())
        if file.is_file() and not file.name.startswith(".") and file.name.lower() not in CLUTTER
    ]
    if not pairs:
        raise ValueError(f"{folder} must hold one folder per class, each with its examples")
    for label, file in pairs:
        if any("\ud800" <= character <= "\udfff" for character in label):  # bytes that are no character
            raise ValueError(f"the name of the folder {str(file.parent)!r} is not UTF-8; rename it")
    return pairs


def _of_mapping(given: Mapping[str, Any]) -> bytes | str:
    if len(given) == 1:
        [(kind, value)] = given.items()
        if kind == "text" and isinstance(value, str):
            return Text(sendable(value))
        if kind == "vector":
            return _vector(value)
    raise TypeError(f'an input as a mapping is {{"text": "…"}} or {{"vector": [numbers]}}, not {given!r:.60}')


def _vector(values: Any) -> bytes:
    """Numbers with one axis as a `.npy` file."""
    import numpy as np

    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "biuf" or not array.size:
        raise ValueError(f"a vector is numbers with one axis, not {array.dtype} {array.shape}")
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


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
    import numpy as np
    from PIL import Image, ImageOps

    file = io.BytesIO()
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in {"I", "F"}:
        picture = Image.fromarray(_pixels(np.asarray(picture)))
    elif picture.mode.startswith("I;16"):  # either order of bytes; Pillow would cut the larger one's values off at 255
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16))
    if picture.mode not in {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}:
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
