"""The bytes of a sound file to one channel of samples, within bounds that a header cannot talk us out of.

libsndfile decodes WAV, FLAC, OGG (Vorbis and Opus) and MP3. What is refused by its first bytes never reaches it.
"""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meta_models.inputs.reading import Caps, UnreadableInput, too_large

FORMATS = "WAV, FLAC, OGG, MP3"
MIN_RATE, MAX_RATE = 2_000, 192_000
"""Samples a second: below it nothing is heard, above it no recorder goes."""
MAX_CHANNELS = 16

SILENT = 1e-3
"""Loudest sample, of full scale (-60 dB), that is still called silence."""

_BLOCK = 2**16
"""Samples of each channel decoded at a time; only their mean is kept."""

_OF_ITSELF = re.compile("exist|pipe|open|pointer|internal|malloc|system", re.IGNORECASE)
"""What libsndfile says of files and memory, which mean nothing to someone who sent bytes."""


def recognises(data: bytes) -> bool:
    """Whether the first bytes are those of a sound, of a known format or of another common one."""
    return _is_known(data) or _container(data) is not None


def decode(data: bytes, caps: Caps) -> tuple[NDArray[np.float32], int]:
    """A whole sound file.

    Returns:
        (n_samples,) mean of the channels, full scale is 1, and the samples a second.

    Raises:
        UnreadableInput: what is wrong with it.
    """
    if not data:
        raise UnreadableInput("empty_audio", "the sound has no bytes")
    if len(data) > caps.audio_bytes:
        raise too_large("audio", f"the sound has {len(data)} bytes, at most {caps.audio_bytes}")
    if not _is_known(data):
        other = _container(data)
        found = f", this is {other}: convert it to one of them" if other else ""
        raise UnreadableInput("undecodable_audio", f"not a sound of a known format ({FORMATS}){found}")
    # Imported here: a machine without libsndfile still serves every other modality.
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(_completed(data))) as file:
            return _mono(file, caps), file.samplerate
    except soundfile.LibsndfileError as error:
        said = error.error_string
        found = f"its {len(data)} bytes cannot be decoded" if _OF_ITSELF.search(said) else said
        raise UnreadableInput("undecodable_audio", f"the sound is damaged: {found}") from error


def _mono(file: Any, caps: Caps) -> NDArray[np.float32]:
    if not MIN_RATE <= file.samplerate <= MAX_RATE:
        detail = f"a sound has {MIN_RATE} to {MAX_RATE} samples a second, this one {file.samplerate}"
        raise UnreadableInput("undecodable_audio", detail)
    if file.channels > MAX_CHANNELS:
        raise too_large("audio", f"the sound has {file.channels} channels, at most {MAX_CHANNELS}")
    most = int(caps.audio_seconds * file.samplerate)
    parts: list[NDArray[np.float32]] = []
    n, loudest = 0, 0.0
    # What a header says of the length is no reason to allocate it.
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
        n += len(block)
        if n > most:
            raise too_large("audio", f"the sound lasts more than {caps.audio_seconds:g} seconds")
        parts.append(block.mean(1))
        if file.channels > 1:
            loudest = max(loudest, float(np.abs(block).max()))
    if not n:
        raise UnreadableInput("empty_audio", "the sound has no samples")
    samples = np.concatenate(parts)
    if not np.isfinite(samples).all():
        place = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise UnreadableInput("undecodable_audio", f"sample {place} is {samples[place]}; every sample must be finite")
    if loudest > SILENT >= np.abs(samples).max():
        raise UnreadableInput("silent_audio", "no sound found: the channels cancel each other out; send one of them")
    return samples


def _completed(data: bytes) -> bytes:
    """A WAV that promises no samples although some follow, as a recorder leaves it that was switched off, with as many
    promised as there may be: what is there is heard. Chunks behind samples that are none are no samples."""
    if data[:4] != b"RIFF":
        return data
    at, promise = 12, 0
    while at + 8 <= len(data) and data[at : at + 4].isascii() and data[at : at + 4].decode().isprintable():
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            if size:
                return data
            promise = at + 4
        at += 8 + size + size % 2
    are_chunks = at in (len(data), len(data) + 1)  # to the end, which may lack its padding
    return data if are_chunks or not promise else data[:promise] + b"\xff" * 4 + data[promise + 4 :]


def _is_known(data: bytes) -> bool:
    if data[:4] in (b"RIFF", b"RF64"):
        return data[8:12] == b"WAVE"
    return data[:4] in (b"fLaC", b"OggS") or data[:3] == b"ID3" or _is_mpeg_frame(data)


def _is_mpeg_frame(data: bytes) -> bool:
    """The header of a layer III frame: eleven bits set, then no reserved value."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return False
    version, layer, bitrate, rate = data[1] >> 3 & 3, data[1] >> 1 & 3, data[2] >> 4, data[2] >> 2 & 3
    return version != 1 and layer == 1 and bitrate != 15 and rate != 3


def _container(data: bytes) -> str | None:
    """What browsers and telephones record, by name."""
    if data[:4] == b"\x1aE\xdf\xa3":
        return "WebM or Matroska"
    if data[4:8] == b"ftyp" and data[8:11] in (b"M4A", b"mp4", b"iso"):
        return "MP4 or M4A"
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return "AIFF"
    return None
