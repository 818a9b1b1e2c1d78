"""What a user holds a sound in, and what the client makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from innerloop import FewShotClassifier
from innerloop.client import Client
from innerloop.client.inputs import as_content, is_sound
from innerloop.demo_sounds import MAKERS, NOISES, play, record
from innerloop.embedded import Embedded
from meta_models.inputs import Caps, SoundSpec, modality_of
from tests.drawings import png
from tests.sounds import RATE, encoded, melody, wav
from tests.vectors import npy

SPEC = SoundSpec()


@pytest.mark.parametrize(
    "data",
    [
        *(encoded(melody(1), format=f) for f in ("WAV", "FLAC", "OGG", "MP3", "AIFF")),
        b"\0\0\0\x18ftypM4A ",
        b"\0\0\0\x18ftypisom",
        b"\x1aE\xdf\xa3",
        png(1, 1),
        npy([1.0]),
        b"",
        b"\xff",
    ],
)
def test_client_and_server_know_the_same_sounds(data: bytes) -> None:
    assert is_sound(data) == (modality_of(data) == "audio")


@pytest.mark.parametrize(
    "samples",
    [
        melody(3),
        melody(3).astype(np.float64),
        10 * melody(3),
        np.stack([melody(3), melody(3)], 1),
        np.rint(melody(3) * 32767).astype(np.int16),
    ],
    ids=["float32", "float64", "beyond full scale", "stereo", "int16"],
)
def test_samples_are_a_sound(samples: Any) -> None:
    heard = SPEC.read(as_content((samples, RATE)), Caps())
    assert np.abs(heard.astype(int) - SPEC.read(wav(3), Caps())).max() <= 8  # of 32,000: 16 bits of another scale


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros((2, 3, 4)), "n_samples, channels"),
        (np.zeros((2, 800)), r"\(2, 800\); transpose"),
        (np.zeros(0), "n_samples"),
        (np.zeros(9, np.int64), "int16, or floats"),
        (np.full(9, np.nan), "finite"),
    ],
)
def test_samples_that_are_no_sound(samples: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        as_content((samples, RATE))


def test_samples_come_with_their_rate() -> None:
    with pytest.raises(ValueError, match="number a second, not 0"):
        as_content((melody(3), 0))


def test_the_estimator_takes_sounds(server: Embedded) -> None:
    examples = [(melody(kind, i), RATE) for kind in range(3) for i in range(2)]
    labels = [kind for kind in range(3) for _ in range(2)]
    heard = FewShotClassifier(url=server.url).fit(examples, labels)
    assert heard.model_["modality"] == "audio"
    assert heard.predict([(melody(kind, 100), RATE) for kind in range(3)]).tolist() == [0, 1, 2]


def test_every_made_sound_can_be_read_and_differs() -> None:
    rng = np.random.default_rng(0)
    read = {name: [SPEC.read(record(name, rng, noise), Caps()) for noise in (*NOISES, *NOISES)] for name in MAKERS}
    spectra = {name: np.mean([np.abs(np.fft.rfft(one[0])) for one in many], 0) for name, many in read.items()}
    alike = np.corrcoef(list(spectra.values()))
    assert (alike[~np.eye(len(MAKERS), dtype=bool)] < 0.95).all()


def test_the_demo_plays(server: Embedded) -> None:
    with Client(server.url) as client:
        cells = play(client, n_shot=3, rounds=2)
    assert [cell.noise for cell in cells] == list(NOISES)
    assert cells[0].accuracy.mean() > 80
    assert "±" in cells[0].worded()
