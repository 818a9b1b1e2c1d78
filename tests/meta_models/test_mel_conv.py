"""The spectrogram in the network: a Fourier transform, bands on the mel scale, and the same in ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from meta_models.algorithms.protocol import init_backbone, n_features, with_backbone
from meta_models.augment_sound import SoundAugmentSpec, random_sound, turned
from meta_models.backbones.mel_conv import LogMel, MelConv
from meta_models.inputs import SoundSpec
from meta_models.inputs.spectrogram import fourier, log_mel, mel_bands
from meta_models.publish import PARITY, check_parity, export
from meta_models.recipe import Data, Outer, Recipe
from meta_models.serving import ServedModel
from meta_models.torch_model import TorchModel, as_floats, build_algorithm
from tests.meta_models.test_algorithms import a_training

SPEC = SoundSpec()
SMALL = {"widths": (4, 6, 8, 8)}


def sounds(n: int) -> torch.Tensor:
    return as_floats(torch.from_numpy(SPEC.examples(np.random.default_rng(0), np.arange(n))))


def test_waves_are_a_fourier_transform() -> None:
    frame = np.random.default_rng(0).normal(size=240)
    hann = np.sin(np.pi * (np.arange(240) + 0.5) / 240) ** 2
    wanted = np.abs(np.fft.rfft(frame * hann)) * 2 / hann.sum()
    cosine, sine = np.split(fourier(240).astype(np.float64) @ frame, 2)
    np.testing.assert_allclose(np.hypot(cosine, sine), wanted, atol=1e-5)


@pytest.mark.parametrize("hertz", [100, 440, 1000, 3500])
def test_a_tone_is_loudest_in_its_band(hertz: int) -> None:
    time = torch.arange(8000) / 8000
    found = LogMel(8000, 40, 80, 3)(torch.sin(2 * torch.pi * hertz * time)[None, None])
    assert found.shape == (1, 2, 40, 100)
    centres = mel_bands(8000, 40, 240) @ (np.arange(121) * 8000 / 240)
    nearest = np.abs(centres - hertz).argmin()
    assert (np.abs(found[0, 0].argmax(0).numpy() - nearest) <= 1).all()


def test_bands_are_even_and_whole() -> None:
    for rate, n_mels, window in ((8000, 40, 240), (16_000, 64, 480), (8000, 80, 160)):
        bands = mel_bands(rate, n_mels, window)
        np.testing.assert_allclose(bands.sum(1), 1, atol=1e-6)
        places = bands @ np.arange(bands.shape[1])
        assert (np.diff(places) >= 0).all()


@pytest.mark.parametrize(
    ("rate", "n_mels", "hop", "overlap"), [(8000, 32, 0.016, 2), (8000, 40, 0.01, 3), (4000, 16, 0.03, 1)]
)
def test_what_is_drawn_is_what_the_graph_computes(rate: int, n_mels: int, hop: float, overlap: int) -> None:
    [sound] = sounds(1)
    heard = LogMel(rate, n_mels, round(hop * rate), overlap)(sound[None])[0, 0].numpy()
    drawn = log_mel(sound[0].numpy(), rate, n_mels, hop, overlap)
    assert drawn.shape == heard.shape
    np.testing.assert_allclose((drawn - drawn.mean()) / drawn.std(), heard, atol=1e-3)


def test_loudness_and_microphone_do_not_matter() -> None:
    """The second version leaves out what is the same in all frames, both how loud it is."""
    mel = LogMel(8000, 40, 80, 3)
    noise = torch.randn(1, 1, 8000, generator=torch.Generator().manual_seed(0)) * 0.1
    torch.testing.assert_close(mel(noise), mel(3 * noise), atol=0.05, rtol=0)
    duller = torch.nn.functional.conv1d(noise, torch.tensor([[[0.5, 0.5]]]), padding=1)[..., :8000]
    there, here = mel(noise)[0], mel(duller)[0]
    assert (there[0] - here[0]).abs().mean() > 3 * (there[1] - here[1]).abs().mean()


@pytest.mark.parametrize("shape", [(1, 8000), (1, 6001), (1, 16_000)])
def test_features(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    backbone = MelConv(shape, **SMALL)
    params = init_backbone(backbone)
    assert not any("spectrogram" in name for name in params), "nothing of the spectrogram is learned"
    inputs = sounds(5)[..., : shape[1]]
    inputs = torch.nn.functional.pad(inputs, (0, shape[1] - inputs.shape[-1]))
    with_backbone(backbone, params, inputs, training=True)  # moves the running statistics
    features = with_backbone(backbone, params, inputs)
    assert features.shape == (5, n_features(backbone))
    # Processors round a row by its place in the batch; one that saw its neighbours would differ a thousandfold.
    torch.testing.assert_close(with_backbone(backbone, params, inputs[2:3])[0], features[2], atol=2e-4, rtol=1e-3)
    assert float((features[0] - features[1]).abs().max()) > 1e-3, "two examples sound the same"


def test_short_floats_do_not_reach_the_spectrogram() -> None:
    mel, given = LogMel(8000, 40, 80, 3), sounds(3)
    with torch.autocast("cpu", torch.bfloat16):
        found = mel(given)
    torch.testing.assert_close(found, mel(given))


def test_too_short_a_sound_is_refused() -> None:
    with pytest.raises(ValueError, match="leave nothing"):
        MelConv((1, 800))


@pytest.mark.parametrize(
    "algorithm",
    [
        {"name": "protonet"},
        {"name": "anil", "inner": {"inner_steps": 2, "inner_lr": 0.1}},
        {"name": "maml", "inner": {"inner_steps": 2, "inner_lr": 0.01}},
    ],
    ids=lambda options: options["name"],
)
def test_graphs_hear_what_torch_hears(algorithm: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    recipe = Recipe(
        name="melodies",
        description="melodies of the tests",
        algorithm=algorithm,
        backbone={"name": "mel_conv", **SMALL},
        input=SPEC,
        data=Data(name="sounds"),
        episodes={"n_way": 5, "n_shot": 1, "n_query": 2},
        outer=Outer(steps=0),
    )
    built = build_algorithm(recipe.algorithm, recipe.backbone, SPEC.shape)
    model = TorchModel(built, built.init())
    manifest = export(model, recipe, a_training(), tmp_path / "melodies")
    assert check_parity(ServedModel(tmp_path / "melodies", manifest), model) <= PARITY


EVERYTHING = SoundAugmentSpec(
    shift=0.1, speed=0.1, gain=6, tilt=3, noise=0.3, overdrive=9, time_mask=0.2, band_mask=0.2
)


def test_augmented_sounds_differ_and_can_be_drawn_again() -> None:
    given = sounds(4)
    first, again, other = (random_sound(given, EVERYTHING, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.shape == given.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.isfinite(first).all()


def test_no_augmentation_changes_nothing() -> None:
    given = sounds(4)
    found = random_sound(given, SoundAugmentSpec(), torch.Generator().manual_seed(1))
    torch.testing.assert_close(found, given, atol=1e-3, rtol=0)


def test_each_augmentation_does_what_it_says() -> None:
    given = sounds(64)

    def power(of: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft(of[:, 0]).abs().pow(2)

    def changed(**spec: float) -> torch.Tensor:
        return random_sound(given, SoundAugmentSpec(**spec), torch.Generator().manual_seed(1))

    silenced = (changed(time_mask=0.5)[:, 0] == 0).float().mean(1)
    assert 0.2 < silenced.mean() < 0.3
    assert silenced.max() < 0.52
    flat = (changed(overdrive=20).abs() > 0.999 * given.abs().amax((1, 2), keepdim=True)).float().mean((1, 2))
    assert 0.3 < (flat > 0.01).float().mean() < 0.6
    louder = changed(gain=6).abs().amax((1, 2)) / given.abs().amax((1, 2))
    assert 0.5 < louder.min() < 0.6
    assert 1.8 < louder.max() < 2.0
    loudness = power(changed(noise=1.0)).sum(1) / power(given).sum(1)
    assert 1.1 < loudness.mean() < 1.3  # a third, in power, of what is uniform and squared: 1/5
    assert (power(changed(band_mask=0.5))[:, ::50] < 1e-6).float().mean() > 0.2
    # A second moved by a tenth of itself, at most.
    spectra = torch.fft.rfft(given[:, 0]), torch.fft.rfft(changed(shift=0.1)[:, 0])
    moves = torch.fft.irfft(spectra[1] * spectra[0].conj()).argmax(1)
    moves = torch.where(moves > 4000, moves - 8000, moves).abs()
    assert 300 < moves.float().mean() < 500
    assert moves.max() <= 800


def test_a_turned_sound_runs_backwards() -> None:
    given = sounds(3)
    found = turned(given, torch.tensor([0, 1, 2]))
    assert torch.equal(found[0], given[0])
    assert torch.equal(found[1], given[1].flip(-1))
    assert torch.equal(found[2], given[2])
