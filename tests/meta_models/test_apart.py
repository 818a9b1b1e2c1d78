"""Sounds decoded in a process of their own: the same answers, and a process that dies takes nothing with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from meta_models.inputs import Caps, UnreadableInput
from meta_models.inputs.apart import Apart
from meta_models.inputs.audio_file import decode
from tests.sounds import encoded, melody, wav


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    with Apart() as made:
        yield made


def children() -> set[int]:
    """Processes that this one has started and that run."""
    found = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
    return {int(pid) for pid in found.split()}


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3"])
def test_the_same_samples(apart: Apart, format: str) -> None:
    data = encoded(melody(3, rate=22_050), 22_050, format=format)
    there, here = apart(data, Caps()), decode(data, Caps())
    np.testing.assert_array_equal(there[0], here[0])
    assert there[1] == here[1] == 22_050


@pytest.mark.parametrize(
    ("data", "caps"),
    [
        (b"hello", Caps()),
        (b"", Caps()),
        (wav(1)[:20], Caps()),
        (wav(1), Caps(audio_seconds=0.1)),
        (wav(1), Caps(audio_bytes=9)),
    ],
)
def test_the_same_refusals(apart: Apart, data: bytes, caps: Caps) -> None:
    with pytest.raises(UnreadableInput) as here:
        decode(data, caps)
    with pytest.raises(UnreadableInput) as there:
        apart(data, caps)
    assert (there.value.code, str(there.value), there.value.status) == (
        here.value.code,
        str(here.value),
        here.value.status,
    )


def test_a_process_is_kept_and_another_takes_its_place() -> None:
    before = children()
    with Apart() as decoding:
        decoding(wav(1), Caps())
        [first] = children() - before
        decoding(wav(2), Caps())
        assert children() - before == {first}
        os.kill(first, signal.SIGKILL)
        assert len(decoding(wav(3), Caps())[0]) == len(melody(3))
        assert first not in children() - before
    assert children() == before


def test_a_decoder_that_never_ends_is_ended() -> None:
    before = children()
    with Apart(seconds=3) as decoding:
        decoding(wav(1), Caps())
        [first] = children() - before
        os.kill(first, signal.SIGSTOP)
        assert len(decoding(wav(2), Caps())[0]) == len(melody(2))  # by another
        assert first not in children()
    assert children() == before


def test_a_sound_that_crashes_every_decoder_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with Apart() as decoding:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(UnreadableInput, match="its decoder crashes") as found:
            decoding(wav(1), Caps())
        assert found.value.code == "undecodable_audio"


def test_many_at_once(apart: Apart) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda kind: len(apart(wav(kind), Caps())[0]), range(12)))
    assert found == [len(melody(kind)) for kind in range(12)]
