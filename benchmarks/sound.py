"""Keywords on the same episodes: what the meta-models hear beside what people would reach for.

MFCC with the nearest neighbour (by mean and deviation over time, and by dynamic time warping), and the same network
as the meta-models', untrained. The keywords, and who speaks them, are those that nothing before has heard.

    python -m benchmarks.sound --data data
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from meta_models.catalogue import Catalogue
from meta_models.datasets import ClassPool
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.evaluate import Accuracy, pool_features
from meta_models.inputs import SoundSpec, UnreadableInput
from meta_models.inputs.sound import PEAK, prepare
from meta_models.inputs.spectrogram import fourier, mel_bands
from meta_models.recipe import load_recipe
from meta_models.serving import ServedModel
from meta_models.serving_path import ServingPath
from meta_models.sources import load_splits
from meta_models.torch_model import TorchModel, build_algorithm

META_MODELS = ("sound-protonet", "sound-anil")
SETTINGS = ((5, 1), (5, 5))
SEED = 20_000
GAINS = (0, 6, 12, 18, 24, 36, 48)
RATE, N_MELS, N_COEFFICIENTS, WINDOW, HOP = 8000, 40, 13, 256, 80
RESULTS = Path(__file__).parent / "results" / "sound.json"

Guess = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]
"""Support rows (n_way, n_shot) and query rows (n,) of a pool to classes (n,)."""


def mfcc(sounds: NDArray[np.int16]) -> NDArray[np.float64]:
    """(n, 1, n_samples) to (n, n_frames, 13): cosine transforms of log-mel spectra (Davis & Mermelstein 1980)."""
    padded = np.pad(sounds[:, 0] / 32768, ((0, 0), (WINDOW // 2, WINDOW // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=1)[:, ::HOP]
    cosine, sine = np.split(frames @ fourier(WINDOW).T.astype(np.float64), 2, axis=2)
    logs = np.log((cosine**2 + sine**2) @ mel_bands(RATE, N_MELS, WINDOW).T + 1e-7)
    band, number = np.arange(N_MELS), np.arange(1, N_COEFFICIENTS + 1)
    return logs @ np.cos(np.pi * number * (2 * band[:, None] + 1) / (2 * N_MELS))


def evened(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """With mean 0 and deviation 1 along an axis."""
    return (values - values.mean(axis, keepdims=True)) / (values.std(axis, keepdims=True) + 1e-6)


def warping_distances(series: NDArray[np.float64], slack: int = 20) -> NDArray[np.float64]:
    """(n, n_frames, d) to (n, n): dynamic time warping within `slack` frames (Sakoe & Chiba 1978)."""
    n, length = series.shape[:2]
    out = np.zeros((n, n))
    for i in range(n - 1):
        others = series[i + 1 :]
        local = np.sqrt(
            np.maximum(
                (series[i] ** 2).sum(1)[None, :, None]
                + (others**2).sum(2)[:, None, :]
                - 2 * np.einsum("td,nsd->nts", series[i], others),
                0,
            )
        )
        before = np.full((len(others), length + 1), np.inf)
        before[:, 0] = 0
        for t in range(length):
            now = np.full_like(before, np.inf)
            for s in range(max(0, t - slack), min(length, t + slack + 1)):
                step = np.minimum(np.minimum(before[:, s], before[:, s + 1]), now[:, s])
                now[:, s + 1] = step + local[:, t, s]
            before = now
        out[i, i + 1 :] = out[i + 1 :, i] = before[:, length]
    return out


def euclidean(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, d) to (n, n)."""
    squares = (vectors**2).sum(1)
    return squares[:, None] + squares - 2 * vectors @ vectors.T


def nearest(distances: NDArray[np.float64], pool: ClassPool) -> Guess:
    """The class of the nearest example; `distances` are between the pool's own, class by class."""
    place = np.zeros(len(pool.inputs), np.int64)
    own = np.concatenate(pool.class_examples)
    place[own] = np.arange(len(own))

    def guess(support: NDArray[np.int64], query: NDArray[np.int64]) -> NDArray[np.int64]:
        return distances[np.ix_(place[query], place[support.ravel()])].argmin(1) // support.shape[1]

    return guess


def adapting(classifier: TorchModel | ServingPath, pool: ClassPool) -> Guess:
    features = pool_features(classifier, pool)

    def guess(support: NDArray[np.int64], query: NDArray[np.int64]) -> NDArray[np.int64]:
        n_way, n_shot = support.shape
        adapted = classifier.adapt(features[support.ravel()], np.arange(n_way).repeat(n_shot), n_way, None)
        return classifier.logits(adapted, features[query]).argmax(1)

    return guess


def untrained() -> TorchModel:
    """The network of `sound-protonet` as it begins."""
    recipe = load_recipe("sound-protonet")
    torch.manual_seed(0)
    algorithm = build_algorithm(recipe.algorithm, recipe.backbone, recipe.input.shape)
    return TorchModel(algorithm, algorithm.init())


def measure(guess: Guess, pool: ClassPool, n_way: int, n_shot: int, n_episodes: int) -> Accuracy:
    """On the first episodes of the seed, the same for everyone."""
    n_query = min(15, min(map(len, pool.class_examples)) - n_shot)
    right: list[float] = []
    for number in range(n_episodes):
        episode = sample_episode(pool, EpisodeSpec(n_way, n_shot, n_query), SEED, number)
        truth = np.arange(n_way).repeat(n_query)
        right.append(float((guess(episode.support, episode.query.ravel()) == truth).mean()))
    return Accuracy.of(right)


def contenders(pool: ClassPool) -> Iterator[tuple[str, Guess]]:
    """Everyone, on one pool."""
    coefficients = mfcc(pool.inputs[np.concatenate(pool.class_examples)])
    # Units of each number from the pool itself: more than a client would know.
    summary = evened(np.concatenate([coefficients.mean(1), coefficients.std(1)], 1), axis=0)
    yield "MFCC mean and deviation, nearest neighbour", nearest(euclidean(summary), pool)
    yield "MFCC, time warping, nearest neighbour", nearest(warping_distances(evened(coefficients, axis=1)), pool)
    yield "the same network untrained, prototypes", adapting(untrained(), pool)
    catalogue = Catalogue()
    for name in META_MODELS:
        published = catalogue.resolve(name)
        model = TorchModel.load(published.folder, published.manifest)
        yield name, adapting(ServingPath(ServedModel(published.folder, published.manifest), model), pool)


def overdriven(pool: ClassPool, gain: float, rate: int) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """The pool's inputs recorded `gain` dB too loud, (n, 1, n_samples), and which of them are refused, (n,)."""
    found, refused = np.zeros_like(pool.inputs), np.zeros(len(pool.inputs), np.bool_)
    for row in np.concatenate(pool.class_examples):
        samples = pool.inputs[row, 0].astype(np.float32) / PEAK
        try:
            found[row] = prepare(np.clip(10 ** (gain / 20) * samples, -1, 1), rate, SoundSpec(rate=rate))
        except UnreadableInput:  # for being clipped: nothing else has changed
            refused[row] = True
    return found, refused


def clipping(pool: ClassPool, n_episodes: int) -> Iterator[dict[str, float]]:
    """Five-way one-shot accuracy of `sound-protonet` on queries that are clipped ever more, of those not refused."""
    published = Catalogue().resolve(META_MODELS[0])
    served = ServedModel(published.folder, published.manifest)
    path = ServingPath(served, TorchModel.load(published.folder, published.manifest))
    clean = pool_features(path, pool)
    for gain in GAINS:
        heard, refused = overdriven(pool, gain, RATE)
        clipped = pool_features(path, replace(pool, inputs=heard))
        right: list[NDArray[np.bool_]] = []
        for number in range(n_episodes):
            episode = sample_episode(pool, EpisodeSpec(5, 1, 5), SEED, number)
            query, truth = episode.query.ravel(), np.arange(5).repeat(5)
            adapted = path.adapt(clean[episode.support.ravel()], np.arange(5), 5)
            right.append((path.logits(adapted, clipped[query]).argmax(1) == truth)[~refused[query]])
        accuracy = round(100 * float(np.concatenate(right).mean()), 1)
        share = round(100 * float(refused[np.concatenate(pool.class_examples)].mean()), 1)
        yield {"gain_db": gain, "refused": share, "accuracy_of_others": accuracy}


def main() -> None:
    """Measure everyone and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--episodes", type=int, default=1000)
    arguments = parser.parse_args()
    console = Console()
    rows: list[dict[str, Any]] = []
    splits = load_splits(arguments.data, load_recipe(META_MODELS[0]))
    for protocol in splits.test:
        for name, guess in contenders(protocol.pool):
            for n_way, n_shot in SETTINGS:
                found = measure(guess, protocol.pool, n_way, n_shot, arguments.episodes)
                console.print(f"{protocol.name} {n_way}w{n_shot}s {name}: {found}", highlight=False)
                figures = {"accuracy": round(100 * found.mean, 2), "ci95": round(100 * found.ci95, 2)}
                rows.append({"protocol": protocol.name, "n_way": n_way, "n_shot": n_shot, "who": name, **figures})
    clips = list(clipping(splits.test[0].pool, arguments.episodes))
    console.print_json(data=clips)
    found = {"episodes": arguments.episodes, "seed": SEED, "rows": rows, "clipping": clips}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
