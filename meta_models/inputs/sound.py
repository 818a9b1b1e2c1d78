"""Turns a sound as a user has it into the samples a meta-model was trained on: of whatever rate, length and loudness.

Runs unchanged on training data, in the API and on exported models; what it does is written in the manifest
(`SoundSpec`). What is made of the samples, a spectrogram first of all, is in the served graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from meta_models.inputs import audio_file
from meta_models.inputs.preview import HEAT, Preview, coloured
from meta_models.inputs.reading import Caps, Described, UnreadableInput
from meta_models.inputs.spectrogram import FLOOR, log_mel

FULL_SCALE = 32_768
"""Of int16, which is 1 to a network."""

PEAK = 32_000
"""Of the loudest sample, so that loudness does not matter."""

SHORTEST = 0.01
"""Seconds, about one period of a deep voice: a shorter sound is a click at most."""

FLAT = 0.98
"""Of the loudest sample: what lies above counts as flat."""

MAX_FLAT = 0.25
"""Share of the samples that may be flat: 0.13 in a pure tone, 0.00 to 0.02 in a recording, 1 in a square wave. About
every other answer to a spoken keyword that is flatter is wrong."""

HUGE = 1e30
"""A sample beyond it, as a file of floats may have, is more than float32 can add up."""

QUIET = 0.01
"""Loudest sample, of full scale (-40 dB), of what is not clipped but the last bit of eight, which goes to and fro."""


class SoundSpec(Described):
    """The loudest `seconds` of a sound, one channel, `rate` samples a second, int16.

    A longer sound is cut to where most of its energy is, that part in the middle; a shorter one gets silence on both
    sides. Its mean is removed and its loudest sample becomes `PEAK`.
    """

    modality: ClassVar[str] = "audio"
    encoded: ClassVar[bool] = True
    dtype: ClassVar[type[np.generic]] = np.int16

    kind: Literal["sound"] = "sound"
    rate: Annotated[int, Field(ge=audio_file.MIN_RATE, le=48_000)] = 8_000
    seconds: Annotated[float, Field(ge=0.1, le=10)] = 1.0

    @property
    def n_samples(self) -> int:
        return round(self.rate * self.seconds)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one example, (channels, n_samples)."""
        return (1, self.n_samples)

    @staticmethod
    def recognises(data: bytes) -> bool:
        """A sound file, of a format that can be read or of another that is known by name."""
        return audio_file.recognises(data)

    def read(self, content: Any, caps: Caps) -> NDArray[np.int16]:
        """The bytes of a sound file, or what they were decoded to, to (1, n_samples).

        Raises:
            UnreadableInput: what is wrong with it.
        """
        samples, rate = content if isinstance(content, tuple) else audio_file.decode(content, caps)
        return prepare(samples, rate, self)

    def preview(self, row: NDArray[Any], backbone: Mapping[str, Any]) -> Preview:
        """(1, n_samples) as its log-mel spectrogram: high tones above, loud ones light, black at `FLOOR` and below."""
        options = {name: backbone[name] for name in ("rate", "n_mels", "hop", "overlap") if name in backbone}
        bands = log_mel(row[0] / FULL_SCALE, **options)
        light = (bands - np.log(FLOOR)) / (bands.max() - np.log(FLOOR))
        sounding = np.flatnonzero(row[0])
        lasts = (sounding[-1] - sounding[0] + 1) / self.rate
        words = (
            f"{lasts:.2f} s of sound in {self.seconds:g} s, {self.rate} samples a second; "
            f"{len(bands)} mel bands from bottom to top, {bands.shape[1]} spectra from left to right"
        )
        return Preview(words, coloured(light, HEAT)[::-1])

    def examples(
        self, rng: np.random.Generator, classes: NDArray[np.int64], *, wider: bool = False
    ) -> NDArray[np.int16]:
        """Made-up examples (n, *shape) to compare graphs on: a class is a chord that swells and fades, an example the
        chord a little out of tune, with noise."""
        n_classes, n = int(classes.max()) + 1, len(classes)
        pitches = rng.uniform(0.02, 0.4, (n_classes, 3))[classes] * np.exp(0.02 * rng.normal(size=(n, 3)))
        swells = rng.uniform(1, 4, (n_classes, 3, 1))[classes]
        time = np.arange(self.n_samples)
        tones = np.sin(2 * np.pi * pitches[..., None] * time)
        envelopes = np.sin(np.pi * swells * time / self.n_samples) ** 2
        sounds = (tones * envelopes).sum(1) + 0.05 * rng.normal(size=(n, self.n_samples))
        return _scaled(sounds)[:, None]


def prepare(samples: NDArray[np.float32], rate: int, spec: SoundSpec) -> NDArray[np.int16]:
    """The array form of `SoundSpec.read`: (n,) at `rate` to (1, n_samples).

    Raises:
        UnreadableInput: too short, silence, or so clipped that little of the sound is left.
    """
    if len(samples) < SHORTEST * rate:
        lasts = f"it lasts {1000 * len(samples) / rate:.2g} ms, at least {1000 * SHORTEST:g} ms are needed"
        raise UnreadableInput("silent_audio", f"no sound found: {lasts}")
    part = loudest(samples, round(spec.seconds * rate))
    if (largest := float(np.abs(part).max())) > HUGE:
        part = part / largest
    mean = float(part.mean(dtype=np.float64))
    part = part - mean
    magnitude = np.abs(part)
    peak = float(magnitude.max())
    if peak <= audio_file.SILENT:
        if abs(mean) > audio_file.SILENT:
            detail = f"no sound found: the samples hardly change, all are near {mean:.2g} of full scale"
            raise UnreadableInput("silent_audio", detail)
        level = f"{20 * np.log10(peak):.0f} dB" if peak > 0 else "nothing at all"
        raise UnreadableInput("silent_audio", f"no sound found: the loudest sample is {level} of full scale")
    flat = float((magnitude >= FLAT * peak).mean())
    if flat > MAX_FLAT and peak < QUIET:
        level = f"{20 * np.log10(peak):.0f} dB of full scale"
        raise UnreadableInput("silent_audio", f"no sound found: the last bit goes to and fro at {level}")
    if flat > MAX_FLAT:
        raise UnreadableInput(
            "clipped_audio",
            f"{100 * flat:.0f}% of the samples are as loud as the loudest one, at most {100 * MAX_FLAT:.0f}%: "
            "the recording is clipped; record it again with less gain",
        )
    if rate != spec.rate:
        import soxr

        part = soxr.resample(part, rate, spec.rate)
    return _scaled(_centred(part, spec.n_samples)[None])


def loudest(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """At most `length` samples in a row: those with most energy, moved so that it lies in the middle."""
    if len(samples) <= length:
        return samples
    energy = np.cumsum(np.concatenate([[0.0], samples.astype(np.float64) ** 2]))
    start = int(np.argmax(energy[length:] - energy[:-length]))
    within = energy[start : start + length + 1]
    # Half of the window's energy comes before this sample.
    middle = start + int(np.searchsorted(within, (within[0] + within[-1]) / 2))
    start = min(max(middle - length // 2, 0), len(samples) - length)
    return samples[start : start + length]


def _centred(samples: NDArray[np.floating[Any]], length: int) -> NDArray[np.floating[Any]]:
    """Exactly `length` samples; resampling may leave one too many."""
    missing = max(length - len(samples), 0)
    return np.pad(samples, (missing // 2, missing - missing // 2))[:length]


def _scaled(sounds: NDArray[np.floating[Any]]) -> NDArray[np.int16]:
    """(n, n_samples) of any scale, none of them silent, as int16."""
    return np.rint(sounds * (PEAK / np.abs(sounds).max(1, keepdims=True))).astype(np.int16)
