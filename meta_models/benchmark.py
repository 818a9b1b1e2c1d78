"""Accuracy of published meta-models on test classes, and what it depends on: steps, shots, imbalance, wrong labels.

Every figure is one line of a log; a line that is there already is not measured again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from meta_models import jsonl
from meta_models.algorithms import InnerSettings
from meta_models.catalogue import Published
from meta_models.costs import Cost
from meta_models.datasets import DataError
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.evaluate import Accuracy, episode_logits, pool_features
from meta_models.inputs import InputSpec
from meta_models.manifest import BODY_FILE, HEAD_FILE, META_PARAMS_FILE, Manifest
from meta_models.measures import confidence_gap, softmax
from meta_models.recipe import Data, Recipe, load_recipe
from meta_models.serving import Features, ServedModel
from meta_models.serving_path import ServingPath
from meta_models.splits import Protocol, Splits
from meta_models.torch_model import TorchModel

logger = logging.getLogger("innerloop.benchmark")

SETTINGS = ((5, 1), (5, 5), (20, 1), (20, 5))
N_QUERY = 15
TEST_SEED = 20_000

STEPS = (0, 1, 2, 3, 5, 10, 15, 20)
SHOTS = (1, 2, 3, 5, 10)
COUNTS = ((5, 5, 5, 5, 5), (3, 4, 5, 6, 7), (1, 3, 5, 7, 9), (1, 1, 5, 9, 9), (1, 1, 1, 11, 11))
"""25 examples in five classes, ever less evenly: standard deviations 0, 1.4, 2.8, 3.6, 4.9."""
WRONG = (0.0, 0.1, 0.2, 0.3, 0.4)


@dataclass(frozen=True)
class Job:
    """One figure to measure.

    Attributes:
        curve: `table`, or what is varied: `steps`, `shots`, `imbalance`, `wrong labels`.
        x: its value; 0 in the table.
    """

    meta_model: str
    weights: str
    curve: str
    protocol: str
    n_way: int
    n_shot: int
    n_query: int
    x: float
    episodes: int


@dataclass(frozen=True)
class Row(Job):
    """A measured figure: mean accuracy and half the width of its 95% confidence interval, in percent.

    `calibration_error`: expected calibration error of the probabilities as served, in percent; of the table alone.
    """

    seed: int
    accuracy: float
    ci95: float
    calibration_error: float | None = None


class CardSetting(NamedTuple):
    """Where a card gives an accuracy."""

    protocol: str
    n_way: int
    n_shot: int
    n_query: int


def default_episodes(shares_body: bool) -> int:
    """10,000, or 1,000 where every episode costs passes through the backbone."""
    return 10_000 if shares_body else 1_000


def recipe_of(manifest: Manifest) -> Recipe:
    """The recipe of a published meta-model, reading inputs as that does: it knows where its tokenizer is."""
    return load_recipe(manifest.name).model_copy(update={"input": manifest.input})


class Subject:
    """A published meta-model with the test classes of its recipe."""

    def __init__(self, published: Published, test: Iterable[Protocol], path: ServingPath | None = None) -> None:
        """`path` is what adapts and answers; by default the published folder, opened."""
        manifest = published.manifest
        self.manifest = manifest
        self.path = path or ServingPath(
            ServedModel(published.folder, manifest), TorchModel.load(published.folder, manifest)
        )
        self.protocols = {p.name: p for p in test}
        self._features: dict[str, Features] = {}

    @property
    def weights(self) -> str:
        """First digits of a sha256 of all that answers depend on: figures of other weights, graphs, inner loops or
        temperatures do not count."""
        manifest = self.manifest
        files = {name: manifest.files.get(name) for name in (META_PARAMS_FILE, BODY_FILE, HEAD_FILE)}
        about = manifest.model_dump_json(include={"inner_loop", "calibration"})
        return hashlib.sha256((json.dumps(files) + about).encode()).hexdigest()[:12]

    def spec(self, job: Job) -> EpisodeSpec:
        wrong = job.x if job.curve == "wrong labels" else 0.0
        within = self.protocols[job.protocol].within_group
        return EpisodeSpec(job.n_way, job.n_shot, job.n_query, within, label_noise=(wrong, wrong))

    def features(self, protocol: Protocol) -> Features:
        """Of the protocol's pool, computed by the first figure that needs them."""
        if protocol.name not in self._features:
            self._features[protocol.name] = pool_features(self.path, protocol.pool)
        return self._features[protocol.name]

    def measure(self, job: Job) -> Row:
        """Run the episodes of one figure."""
        inner = None
        if job.curve == "steps" and self.manifest.inner_loop:
            inner = InnerSettings(int(job.x), self.manifest.inner_loop.inner_lr)
        counts = COUNTS[int(job.x)] if job.curve == "imbalance" else None
        protocol = self.protocols[job.protocol]
        temperature = self.manifest.calibration_for(
            job.n_way, sum(counts) / len(counts) if counts else job.n_shot
        ).temperature
        confidence: list[NDArray[np.float64]] = []
        right: list[NDArray[np.bool_]] = []
        for logits, labels in episode_logits(
            self.path, protocol.pool, self.spec(job), job.episodes, TEST_SEED, inner, counts, self.features(protocol)
        ):
            confidence.append(softmax(logits, temperature).max(1))
            right.append(logits.argmax(1) == labels)
        accuracy = Accuracy.of([float(r.mean()) for r in right])
        gap = confidence_gap(np.concatenate(confidence), np.concatenate(right))
        return Row(
            **asdict(job),
            seed=TEST_SEED,
            accuracy=round(100 * accuracy.mean, 2),
            ci95=round(100 * accuracy.ci95, 2),
            calibration_error=round(100 * gap, 2) if job.curve == "table" else None,
        )

    def cost(self, run: str, rounds: int = 30) -> Cost:
        """Times of adapting and of asking, in turn, torch on one thread as in a worker of two cores."""
        protocol = next(iter(self.protocols.values()))
        pool, spec = protocol.pool, EpisodeSpec(20, 1, 1, protocol.within_group).for_pool(protocol.pool)
        n_way = spec.n_way
        adapting: list[float] = []
        asking: list[float] = []
        adapted: dict[str, np.ndarray] = {}
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for number in range(rounds):
            episode = sample_episode(pool, spec, TEST_SEED, number)
            support, query = pool.inputs[episode.support.ravel()], pool.inputs[episode.query.ravel()[:1]]
            began = time.perf_counter()
            adapted = self.path.adapt(self.path.support_features(support, np.arange(n_way)), np.arange(n_way), n_way)
            adapting.append(time.perf_counter() - began)
            began = time.perf_counter()
            self.path.logits(adapted, self.path.features(query))
            asking.append(time.perf_counter() - began)
        torch.set_num_threads(threads)
        return Cost(
            self.manifest.reference,
            round(1000 * float(np.median(adapting)), 2),
            round(1000 * float(np.median(asking)), 2),
            sum(a.nbytes for a in adapted.values()),
            run,
        )


def card_settings(test: Iterable[Protocol]) -> Iterator[CardSetting]:
    """Every figure that the card of a meta-model with these test classes has."""
    for protocol in test:
        smallest = min(len(rows) for rows in protocol.pool.class_examples)
        # A pool of few classes has the same settings with as many as it has, once each.
        most = protocol.pool.n_classes
        for n_way, n_shot in dict.fromkeys((min(n_way, most), n_shot) for n_way, n_shot in SETTINGS):
            if n_shot < smallest:
                yield CardSetting(protocol.name, n_way, n_shot, min(N_QUERY, smallest - n_shot))


def card_jobs(subject: Subject, episodes: int) -> Iterator[Job]:
    """Every figure of a meta-model's card."""
    for protocol, n_way, n_shot, n_query in card_settings(subject.protocols.values()):
        yield _job(subject, "table", protocol, n_way, n_shot, 0, n_query, episodes)


def curve_jobs(subject: Subject, episodes: int) -> Iterator[Job]:
    """Every point of a meta-model's curves, where the clients' protocol is measured."""
    if "L" not in subject.protocols:
        return
    if subject.manifest.inner_loop:
        for steps in (s for s in STEPS if s <= subject.manifest.inner_loop.max_inner_steps):
            yield _job(subject, "steps", "L", 20, 1, steps, N_QUERY, episodes)
    for shots in SHOTS:
        yield _job(subject, "shots", "L", 20, shots, shots, 10, episodes)
    for number, counts in enumerate(COUNTS):
        yield _job(subject, "imbalance", "L", 5, max(counts), number, 9, episodes)
    for share in WRONG:
        yield _job(subject, "wrong labels", "L", 5, 10, share, 10, episodes)


def _job(
    subject: Subject, curve: str, protocol: str, n_way: int, n_shot: int, x: float, n_query: int, episodes: int
) -> Job:
    return Job(subject.manifest.reference, subject.weights, curve, protocol, n_way, n_shot, n_query, x, episodes)


class Log:
    """Measured rows as lines of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows = [Row(**row) for row in jsonl.read(path)]

    def find(self, wanted: Job) -> Row | None:
        """A row of the same figure and weights, measured on at least as many episodes."""
        same = [field.name for field in fields(Job) if field.name != "episodes"]
        for row in self.rows:
            if row.episodes >= wanted.episodes and all(getattr(row, k) == getattr(wanted, k) for k in same):
                return row
        return None

    def forget_other_versions(self, manifests: Iterable[Manifest]) -> None:
        """Drop the rows of these meta-models that are of another version."""
        version = {manifest.name: manifest.reference for manifest in manifests}
        self.rows = [r for r in self.rows if version.get(r.meta_model.split("@")[0], r.meta_model) == r.meta_model]
        self._write()

    def forget(self, curve: str, meta_model: str) -> None:
        """Drop its rows of this curve."""
        self.rows = [r for r in self.rows if (r.curve, r.meta_model) != (curve, meta_model)]
        self._write()

    def add(self, row: Row) -> None:
        """Append, in place of a row of other weights or fewer episodes; one as good as this is kept instead."""
        if self.find(row):
            return
        key = ("meta_model", "curve", "protocol", "n_way", "n_shot", "x")
        self.rows = [r for r in self.rows if any(getattr(r, k) != getattr(row, k) for k in key)] + [row]
        self._write()

    def _write(self) -> None:
        jsonl.write(self._path, map(asdict, self.rows))


def run(
    published: Iterable[Published],
    splits: Callable[[Recipe], Splits],
    log: Log,
    on_row: Callable[[Row], None],
    episodes: int | None = None,
    curves: bool = True,
    on_job: Callable[[str], None] = lambda _: None,
) -> list[Cost]:
    """Measure the points of `curves` that `log` lacks, with `default_episodes` unless told otherwise; costs are
    measured each time, all in this run. `on_job` is told in words what is measured next.

    Each meta-model is opened when it is its turn. One whose data are missing is left out, which a warning says.

    Raises:
        DataError: the data of all of them are missing.
    """
    tests: dict[tuple[Data, InputSpec], tuple[Protocol, ...]] = {}
    costs: list[Cost] = []
    began = datetime.now(UTC).isoformat(timespec="milliseconds")
    missing: DataError | None = None
    for one in published:
        recipe = recipe_of(one.manifest)
        try:
            if (recipe.data, recipe.input) not in tests:
                tests[recipe.data, recipe.input] = splits(recipe).test
        except DataError as error:
            missing = error
            logger.warning("%s is not measured: %s", one.manifest.reference, error)
            continue
        subject = Subject(one, tests[recipe.data, recipe.input])
        log.forget_other_versions([one.manifest])
        jobs = curve_jobs(subject, episodes or default_episodes(subject.path.shares_body)) if curves else ()
        missing_points = [job for job in jobs if not log.find(job)]
        for number, job in enumerate(missing_points, 1):
            on_job(
                f"{job.meta_model}: {job.curve} {job.x:g}, {job.episodes} episodes, {number} of {len(missing_points)}"
            )
            row = subject.measure(job)
            log.add(row)
            on_row(row)
        on_job(f"{one.manifest.reference}: what adapting costs")
        costs.append(subject.cost(began))
    if missing and not costs:
        raise missing
    return costs
