"""Few-shot on sounds that arithmetic makes, through HTTP: bells, plucked strings, drums, birds and more, in noise.

Nothing of the kind was meta-trained on: what is published learned from spoken keywords and five environmental sounds.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from innerloop.client import Client
from innerloop.wording import with_interval

SHOTS = (1, 3, 10)
NOISES = (0.0, 0.3, 1.0)
"""Noise, as a share of the sound's own level."""
N_QUERY = 10

_FILES = (("WAV", 8_000), ("FLAC", 22_050), ("OGG", 48_000), ("MP3", 44_100))
"""Formats and rates that take turns: none of them matters."""

Sound = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """Accuracy with `n_shot` clean examples a class on queries in `noise`, in percent, a value for each support set."""

    n_shot: int
    noise: float
    accuracy: NDArray[np.float64]

    def worded(self) -> str:
        """Mean and half the width of its 95% confidence interval."""
        return with_interval(self.accuracy)


def play(client: Client, n_shot: int, rounds: int) -> list[Cell]:
    """Adapt to `rounds` support sets and ask about other sounds of the same kinds, at each level of noise."""
    found = np.zeros((rounds, len(NOISES)))
    for number in range(rounds):
        rng = np.random.default_rng((number, n_shot))
        model = client.adapt([(name, record(name, rng)) for name in MAKERS for _ in range(n_shot)], ttl_seconds=60)
        names = [name for name in MAKERS for _ in range(N_QUERY)]
        for column, noise in enumerate(NOISES):
            results = client.predict(model["id"], [record(name, rng, noise) for name in names])
            right = [r["scores"][0]["label"] == name for r, name in zip(results, names, strict=True)]
            found[number, column] = 100 * np.mean(right)
        client.delete(model["id"])
    return [Cell(n_shot, noise, found[:, column]) for column, noise in enumerate(NOISES)]


def record(name: str, rng: np.random.Generator, noise: float = 0.0) -> bytes:
    """One sound of a kind as a file, with silence before it and after, of a random format."""
    import soundfile

    format, rate = _FILES[rng.integers(len(_FILES))]
    sound = MAKERS[name](rng, np.arange(round(rate * rng.uniform(0.4, 0.8))) / rate)
    sound = sound / np.abs(sound).max() * rng.uniform(0.05, 0.9)
    level = np.sqrt(np.mean(sound**2))
    sound = np.pad(sound, [round(rate * s) for s in rng.uniform(0, 0.3, 2)])
    sound = sound + (noise * level + 1e-4) * rng.normal(size=len(sound))
    file = io.BytesIO()
    soundfile.write(file, np.clip(sound, -1, 1), rate, format=format)
    return file.getvalue()


def _tone(hertz: Sound | float, time: Sound) -> Sound:
    """A sine whose pitch may move."""
    step = time[1] - time[0]
    return np.sin(2 * np.pi * np.cumsum(np.broadcast_to(hertz, time.shape)) * step)


def _bell(rng: np.random.Generator, time: Sound) -> Sound:
    pitch = rng.uniform(500, 900)
    partials = ((1, 3), (2.76, 5), (5.4, 9))
    return sum((np.exp(-decay * time) * _tone(pitch * ratio, time) for ratio, decay in partials), np.zeros_like(time))


def _string(rng: np.random.Generator, time: Sound) -> Sound:
    pitch, place = rng.uniform(110, 220), rng.uniform(0.1, 0.3)
    overtones = range(1, 16)
    return sum(
        (np.sin(np.pi * n * place) / n * np.exp(-n * 2 * time) * _tone(n * pitch, time) for n in overtones),
        np.zeros_like(time),
    )


def _drum(rng: np.random.Generator, time: Sound) -> Sound:
    pitch = rng.uniform(60, 90)
    skin = np.exp(-12 * time) * _tone(pitch * (1 + np.exp(-30 * time)), time)
    return skin + 0.2 * np.exp(-60 * time) * rng.normal(size=time.size)


def _bird(rng: np.random.Generator, time: Sound) -> Sound:
    pitch, chirps = rng.uniform(2000, 2800), rng.uniform(6, 9)
    part = (time * chirps) % 1
    return np.sin(np.pi * part) ** 2 * _tone(pitch * (1 + 0.3 * part), time)


def _siren(rng: np.random.Generator, time: Sound) -> Sound:
    pitch, turns = rng.uniform(600, 800), rng.uniform(2, 3)
    moved = pitch * 2 ** (0.5 * np.sin(2 * np.pi * turns * time + rng.uniform(0, 6)))
    return _tone(moved, time) + 0.3 * _tone(2 * moved, time)


def _wind(rng: np.random.Generator, time: Sound) -> Sound:
    noise = np.cumsum(rng.normal(size=time.size))
    noise = noise - np.convolve(noise, np.ones(99) / 99, mode="same")
    return noise * (1 + 0.8 * np.sin(2 * np.pi * rng.uniform(1, 2) * time + rng.uniform(0, 6)))


def _clock(rng: np.random.Generator, time: Sound) -> Sound:
    beats, pitch = rng.uniform(5, 7), rng.uniform(2500, 3200)
    part = (time * beats) % 1 / beats
    return np.exp(-150 * part) * (_tone(pitch, time) + 0.5 * rng.normal(size=time.size))


def _horn(rng: np.random.Generator, time: Sound) -> Sound:
    pitch = rng.uniform(180, 260)
    swell = np.minimum(time / 0.05, 1)
    chord = (_tone(n * pitch * ratio, time) / n for ratio in (1, 1.26) for n in range(1, 9))
    return swell * sum(chord, np.zeros_like(time))


MAKERS: dict[str, Callable[[np.random.Generator, Sound], Sound]] = {
    "bell": _bell,
    "bird": _bird,
    "clock": _clock,
    "drum": _drum,
    "horn": _horn,
    "siren": _siren,
    "string": _string,
    "wind": _wind,
}
