"""Small sounds for tests: a class is a melody of three gliding tones with overtones, an example the same melody sung
again, a little out of tune, at another pace, in another room."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from tests.drawings import b64

RATE = 8000


def melody(kind: int, example: int = 0, *, rate: int = RATE, seconds: float = 0.8) -> NDArray[np.float32]:
    """(n,) example `example` of class `kind`, full scale is 1."""
    notes = np.exp(np.random.default_rng((kind, 1)).uniform(np.log(150), np.log(1500), 4))
    hand = np.random.default_rng((kind, 2, example))
    notes = notes * np.exp(hand.normal(0, 0.02, 4) + hand.normal(0, 0.02))
    n = round(rate * seconds * np.exp(hand.normal(0, 0.05)))
    pitch = np.interp(np.linspace(0, 3, n), range(4), notes)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    tones = np.sin(phase) + 0.5 * np.sin(2 * phase + 1) + 0.2 * np.sin(3 * phase + 2)
    swell = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 0.5
    return (0.2 * tones * swell + 0.002 * hand.normal(size=n)).astype(np.float32)


def encoded(samples: NDArray[Any], rate: int = RATE, format: str = "WAV", **options: Any) -> bytes:
    """(n,) or (n, channels) as a sound file; 16 bits unless a subtype is named, the same in every lossless format."""
    if "subtype" not in options:
        samples = np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, **options)
    return file.getvalue()


def wav(kind: int, example: int = 0) -> bytes:
    return encoded(melody(kind, example))


def silence(seconds: float = 1.0) -> bytes:
    return encoded(np.zeros(round(RATE * seconds), np.float32))


def clipped() -> bytes:
    """Recorded at far too much gain."""
    return encoded(np.clip(50 * melody(1), -1, 1))


def support_json(n_way: int, n_shot: int, *, first: int = 0) -> list[dict[str, Any]]:
    """`support` of a request: classes "class 0" … with `n_shot` melodies each."""
    return [
        {"label": f"class {kind}", "input": {"audio": b64(wav(first + kind, example))}}
        for kind in range(n_way)
        for example in range(n_shot)
    ]


def inputs_json(kinds: list[int], example: int = 100) -> list[dict[str, Any]]:
    """`inputs` of a request: one unheard melody of each kind."""
    return [{"id": f"q{i}", "audio": b64(wav(kind, example))} for i, kind in enumerate(kinds)]
