"""The same sound however it was recorded, and words for what is none."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from meta_models.inputs import Caps, SoundSpec, UnreadableInput, modality_of
from tests.drawings import png
from tests.sounds import RATE, clipped, encoded, melody, silence, wav
from tests.vectors import npy

SPEC = SoundSpec()


def read(data: bytes, spec: SoundSpec = SPEC) -> NDArray[np.int16]:
    return spec.read(data, Caps())


def likeness(a: NDArray[np.int16], b: NDArray[np.int16]) -> float:
    """Largest correlation of two sounds, up to 5 ms apart: codecs delay."""
    first, second = a[0].astype(float), b[0].astype(float)
    moved = (np.roll(second, by) for by in range(-40, 41))
    return max(float(first @ m / np.sqrt((first @ first) * (m @ m))) for m in moved)


def refusal(data: bytes, caps: Caps = Caps()) -> UnreadableInput:  # noqa: B008 - frozen
    with pytest.raises(UnreadableInput) as found:
        SPEC.read(data, caps)
    return found.value


CODES = {"read", "undecodable_audio", "empty_audio", "silent_audio", "clipped_audio", "audio_too_large"}


def outcome(data: bytes) -> str:
    """`read`, or the code of the refusal; anything else that is raised is a fault."""
    try:
        return "read" if read(data).shape == (1, 8000) else "of another shape"
    except UnreadableInput as error:
        return error.code


def test_shape_and_range() -> None:
    found = read(wav(3))
    assert found.shape == SPEC.shape == (1, 8000)
    assert found.dtype == np.int16
    assert np.abs(found).max() == 32_000
    assert SoundSpec(rate=16_000, seconds=2.5).shape == (1, 40_000)


@pytest.mark.parametrize(
    ("format", "subtype", "alike"),
    [
        ("WAV", "PCM_16", 0.9999),
        ("WAV", "PCM_U8", 0.99),
        ("WAV", "PCM_24", 0.9999),
        ("WAV", "FLOAT", 0.9999),
        ("WAV", "ULAW", 0.99),
        ("FLAC", "PCM_16", 0.9999),
        ("OGG", "VORBIS", 0.98),
        ("OGG", "OPUS", 0.95),
        ("MP3", "MPEG_LAYER_III", 0.98),
    ],
)
def test_every_format(format: str, subtype: str, alike: float) -> None:
    data = encoded(melody(3), format=format, subtype=subtype)
    assert modality_of(data) == "audio"
    assert likeness(read(data), read(wav(3))) > alike


@pytest.mark.parametrize("rate", [6000, 11_025, 16_000, 44_100, 48_000, 96_000])
def test_any_rate(rate: int) -> None:
    """The same sound sampled otherwise; at 6 kHz what lies above 3 kHz is gone."""
    there = soxr.resample(melody(3), RATE, rate)
    assert likeness(read(encoded(there, rate)), read(wav(3))) > 0.99


@pytest.mark.parametrize("n_channels", [2, 6])
def test_any_number_of_channels(n_channels: int) -> None:
    """Each as loud as it likes."""
    several = melody(3)[:, None] * np.linspace(0, 1, n_channels)
    assert likeness(read(encoded(several)), read(wav(3))) > 0.999


def test_loudness_and_offset_do_not_matter() -> None:
    assert (
        np.abs(read(encoded(0.01 * melody(3), subtype="FLOAT")) - read(encoded(melody(3), subtype="FLOAT"))).max() <= 1
    )
    assert likeness(read(encoded(melody(3) + 0.2)), read(wav(3))) > 0.999


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_samples_near_the_largest_float_are_heard(rate: int) -> None:
    """Also where they are resampled, and where they lie on one side of zero."""
    there = soxr.resample(melody(3), RATE, rate)
    for samples in (there, there - 0.9 * there.max()):
        loud = encoded(samples / np.abs(samples).max() * np.float32(3.3e38), rate, subtype="FLOAT")
        assert likeness(read(loud), read(encoded(samples, rate, subtype="FLOAT"))) > 0.9999


@pytest.mark.parametrize("before", [0.1, 1.3, 20.0])
def test_the_loudest_part_of_a_long_sound_is_heard(before: float) -> None:
    """Wherever it is among the noise of the room."""
    rng = np.random.default_rng(0)
    room = 0.002 * rng.normal(size=round(RATE * (before + 10)))
    start = round(RATE * before)
    room[start : start + len(melody(3))] += melody(3)
    heard = read(encoded(room.astype(np.float32)))
    energy = np.cumsum(heard[0].astype(float) ** 2)
    assert energy[-1] * 0.48 < energy[4000] < energy[-1] * 0.52 or before < 0.5  # in the middle, where there is room
    padded = np.abs(np.fft.rfft(read(wav(3))[0]))
    assert np.corrcoef(padded, np.abs(np.fft.rfft(heard[0])))[0, 1] > 0.95


def test_a_short_sound_gets_silence_on_both_sides() -> None:
    heard = read(encoded(melody(3, seconds=0.2)))[0]
    loud = np.flatnonzero(heard)
    assert abs(loud[0] - (8000 - 1 - loud[-1])) < 20


def test_silence_is_answered_in_words() -> None:
    for nothing in (silence(), encoded(np.full(8000, 0.3, np.float32)), encoded(np.full(8000, 1e-4, np.float32))):
        assert refusal(nothing).code == "silent_audio"
    assert "-66 dB" in str(refusal(encoded(5e-4 * np.sin(np.arange(8000)).astype(np.float32), subtype="FLOAT")))
    read(encoded(3e-3 * melody(3) / np.abs(melody(3)).max(), subtype="FLOAT"))  # very quiet is not silent


def test_why_nothing_is_heard_is_said() -> None:
    turned_over = melody(3)[:, None] * np.array([1, -1])
    last_bit = np.random.default_rng(0).integers(0, 2, 8000) / 128
    for data, words in (
        (encoded(np.full(8000, 0.5)), "hardly change, all are near 0.5 of full scale"),
        (encoded(turned_over), "the channels cancel each other out"),
        (silence(), "the loudest sample is nothing at all"),
        (encoded(last_bit, subtype="PCM_U8"), "the last bit goes to and fro at -4"),
        (encoded(np.zeros((8000, 2))), "the loudest sample is nothing at all"),
        (encoded(np.array([0.5])), "it lasts 0.12 ms, at least 10 ms are needed"),
        (encoded(np.array([0.5, -0.5])), "it lasts 0.25 ms"),
        (encoded(melody(3)[:79]), "it lasts 9.9 ms"),
    ):
        assert refusal(data).code == "silent_audio"
        assert words in str(refusal(data))
    read(encoded(melody(3)[2000:2080]))  # ten milliseconds are heard


def test_a_clipped_recording_is_answered_in_words() -> None:
    error = refusal(clipped())
    assert error.code == "clipped_audio"
    assert "less gain" in str(error)
    read(encoded(np.clip(2 * melody(1), -0.3, 0.3)))  # a little is forgiven


def test_what_is_no_sound() -> None:
    for data, words in (
        (b"hello", "not a sound of a known format (WAV, FLAC, OGG, MP3)"),
        (png(1, 1), "not a sound of a known format"),
        (b"\x1aE\xdf\xa3" + bytes(50), "WebM or Matroska: convert it"),
        (b"\x00\x00\x00\x20ftypM4A " + bytes(50), "MP4 or M4A: convert it"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "damaged"),
        (encoded(melody(1), format="FLAC")[:60], "damaged"),
        (encoded(melody(1), format="MP3")[:40], "the sound is damaged: its 40 bytes cannot be decoded"),
    ):
        assert refusal(data).code == "undecodable_audio"
        assert words in str(refusal(data))
    assert refusal(b"").code == "empty_audio"
    assert refusal(encoded(np.zeros(0, np.float32))).code == "empty_audio"
    hole = melody(1)
    hole[77] = np.nan
    assert "sample 77 is nan" in str(refusal(encoded(hole, subtype="FLOAT")))


def test_bounds() -> None:
    assert refusal(wav(1), Caps(audio_bytes=100)).code == "audio_too_large"
    error = refusal(encoded(melody(1, seconds=3)), Caps(audio_seconds=2))
    assert (error.code, error.status) == ("audio_too_large", 413)
    assert "more than 2 seconds" in str(error)
    assert "17 channels" in str(refusal(encoded(np.ones((100, 17), np.float32))))
    assert "1000 to" not in str(refusal(encoded(melody(1), 1000)))
    assert "samples a second, this one 1000" in str(refusal(encoded(melody(1), 1000)))


def test_a_header_does_not_allocate_what_it_claims() -> None:
    """A gigabyte in a WAV header, hours in that of FLAC: some thousand samples follow."""
    lying = bytearray(wav(1))
    lying[40:44] = (2**30).to_bytes(4, "little")
    hours = bytearray(encoded(melody(1), format="FLAC"))
    hours[21:26] = bytes([hours[21] | 0x0F]) + b"\xff\xff\xff\xff"  # 36 bits of total samples
    tracemalloc.start()
    for data in (lying, hours):
        assert outcome(bytes(data)) in ("read", "undecodable_audio", "audio_too_large")
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("riff", [None, 0, 36])
def test_of_an_unfinished_wav_what_is_there_is_heard(subtype: str, riff: int | None) -> None:
    """A recorder writes at the end how much there is."""
    data = bytearray(encoded(melody(3), subtype=subtype))
    start = data.index(b"data") + 8
    data[start - 4 : start] = bytes(4)
    if riff is not None:
        data[4:8] = riff.to_bytes(4, "little")
    assert likeness(read(bytes(data)), read(wav(3))) > 0.9999
    note = b"LIST\x05\x00\x00\x00INFO\x00"
    for nothing in (data[:start], data[:start] + note, data[:start] + note + bytes(1), data[:20]):
        assert outcome(bytes(nothing)) in ("empty_audio", "undecodable_audio")
    assert outcome(bytes(data[:start] + bytes(16_000))) == "silent_audio"


def test_files_are_told_apart() -> None:
    assert [modality_of(data) for data in (wav(1), png(1, 1), npy([1.0]), b"RIFF\x00\x00\x00\x00WEBPVP8 ")] == [
        "audio",
        "image",
        "vector",
        "image",
    ]
    assert modality_of("\ufeffnotes".encode("utf-16-le")) == "text"
    assert modality_of("notes".encode("utf-16-le")) == "image"
    untagged = encoded(melody(1), format="MP3")
    assert modality_of(b"ID3\x04\x00\x00\x00\x00\x00\x00" + untagged) == "audio"


_FILES = [encoded(melody(1), format=f, **o) for f, o in (("WAV", {}), ("FLAC", {}), ("OGG", {}), ("MP3", {}))]


@settings(deadline=None)
@given(
    st.sampled_from(_FILES),
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=20),
    st.integers(0, 2**16),
)
def test_damage_of_any_kind_is_refused_or_read(data: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    """Never another exception, a hang or a crash."""
    damaged = bytearray(data[: max(len(data) - cut % len(data), 1)])
    for place, value in changes:
        damaged[place % len(damaged)] = value
    assert outcome(bytes(damaged)) in CODES


_STARTS = [b"", b"fLaC", b"OggS", b"ID3", b"\xff\xfb\x90\x00", b"RIFF\0\0\0\0WAVE"]


@settings(deadline=None)
@given(st.sampled_from(_STARTS), st.binary(max_size=300))
def test_rubbish_is_refused(start: bytes, rubbish: bytes) -> None:
    assert outcome(start + rubbish) in CODES


def test_made_up_examples_are_sounds() -> None:
    made = SPEC.examples(np.random.default_rng(0), np.arange(6) % 3)
    assert made.shape == (6, 1, 8000)
    assert made.dtype == np.int16
    assert (np.abs(made).max((1, 2)) == 32_000).all()
    alike = np.corrcoef(np.abs(np.fft.rfft(made[:, 0])))
    assert alike[0, 3] > alike[0, 1]
