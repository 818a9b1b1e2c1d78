"""The benchmark measures what it says, once, and writes the page."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from innerloop.cli import app
from meta_models import benchmark, costs, produce, report, sources
from meta_models import evaluate as evaluation
from meta_models.catalogue import ZOO, Catalogue, Published
from meta_models.datasets import ClassPool, DataError, Omniglot
from meta_models.episodes import EpisodeSpec
from meta_models.evaluate import Accuracy, evaluate
from meta_models.manifest import read_manifest
from meta_models.recipe import Recipe, load_recipe
from meta_models.sources import split
from meta_models.splits import Splits
from tests.drawings import sketch

NAME = "omniglot-protonet"


@pytest.fixture(scope="module")
def omniglot() -> Omniglot:
    """24 characters of one evaluation alphabet and one of each development alphabet, as sketches."""
    development = load_recipe(NAME).data.development_groups
    alphabet = np.array([0] * 24 + [1 + i for i in range(len(development))])
    strokes = np.stack(
        [[np.asarray(sketch(c, drawer).convert("1")) == 0 for drawer in range(20)] for c in range(len(alphabet))]
    )
    return Omniglot(
        strokes=strokes,
        alphabet=alphabet,
        alphabet_names=("Sketches", *development),
        character=np.arange(len(alphabet)),
        is_background=alphabet > 0,
        vinyals_split=np.zeros(len(alphabet), np.int64),
    )


def test_measures_every_figure_once_and_writes_the_page(omniglot: Omniglot, tmp_path: Path) -> None:
    def splits(recipe: Recipe) -> Splits:
        return split(omniglot, recipe)

    published = [Catalogue().resolve(NAME)]
    seen: list[benchmark.Row] = []
    costs = benchmark.run(published, splits, benchmark.Log(tmp_path / "log"), seen.append, episodes=3)
    assert Counter(row.curve for row in seen) == {"shots": 5, "imbalance": 5, "wrong labels": 5}
    assert all(0 < row.accuracy <= 100 for row in seen)
    assert costs[0].adapted_bytes == 20 * 64 * 4

    again: list[benchmark.Row] = []
    fresh = benchmark.Log(tmp_path / "fresh")
    assert benchmark.run(published, splits, fresh, again.append, episodes=3, curves=False)[0].adapt_ms > 0
    assert not again
    log = benchmark.Log(tmp_path / "log")
    told: list[str] = []
    benchmark.run(published, splits, log, again.append, episodes=3, on_job=told.append)
    assert (again, told) == ([], [f"{published[0].manifest.reference}: what adapting costs"])
    benchmark.run(published, splits, log, again.append, episodes=4, on_job=told.append)
    assert f"{published[0].manifest.reference}: wrong labels 0.4, 4 episodes, 15 of 15" in told
    assert len(again) == len(log.rows) == len(seen)

    log.add(replace(seen[0], meta_model=f"{NAME}@0", accuracy=1.0))
    log.add(replace(seen[0], meta_model="another@1"))
    benchmark.run(published, splits, log, again.append, episodes=4)
    kept = Counter(row.meta_model for row in benchmark.Log(tmp_path / "log").rows)
    assert kept == {published[0].manifest.reference: len(seen), "another@1": 1}

    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    manifests = [one.manifest for one in published]
    report.write(manifests, log.rows, costs, page, tmp_path / "plots" / "accuracy.png")
    text = page.read_text()
    figure = next(f for f in manifests[0].benchmarks if (f.n_way, f.n_shot) == (20, 1))
    assert f"{figure.accuracy:.2f} ± {figure.ci95:.2f}" in text
    assert f"{costs[0].adapt_ms:.1f}" in text
    assert text.startswith("before")
    assert text.endswith("after\n")
    assert "old" not in text
    assert (tmp_path / "plots" / "accuracy.png").stat().st_size > 10_000


def test_a_run_of_one_keeps_what_the_others_cost(
    omniglot: Omniglot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "load_splits", lambda _, recipe: split(omniglot, recipe))
    page, log = tmp_path / "page.md", tmp_path / "points.jsonl"
    page.write_text(f"{report.BEGIN}\nold\n{report.END}\n")
    benchmark.Log(log).add(benchmark.Row("m@1", "a", "shots", "L", 5, 1, 15, 0, 9, seed=0, accuracy=90.0, ci95=1.0))
    matching, *references = (
        Catalogue().resolve(name).manifest.reference for name in ("omniglot-matching", NAME, "photo-conv4")
    )
    others = [costs.Cost(reference, 7654.3, 21.0, 99, "2025") for reference in references]
    costs.record(tmp_path / costs.FILE, [costs.Cost("omniglot-matching@0", 8765.4, 9.8, 7, "2025"), *others])

    what = ["--only", "omniglot-matching", "--no-curves", "--log", str(log), "--page", str(page)]
    ran = CliRunner().invoke(app, ["benchmark", "accuracy", *what])
    assert ran.exit_code == 0, ran.output
    measured, *kept = costs.record(tmp_path / costs.FILE, [])
    assert kept == others
    assert (measured.meta_model, measured.adapted_bytes) == (matching, 20 * 65 * 4 + 80)

    def row(reference: str) -> list[str]:
        [found] = [line for line in page.read_text().splitlines() if line.startswith(f"| `{reference}`")]
        return [cell.strip() for cell in found.split("|")[-4:-1]]

    assert row(references[0]) == ["7654.3†", "21.0†", "99"]
    assert row(matching) == [f"{measured.adapt_ms:.1f}", f"{measured.predict_ms:.1f}", "5,280"]
    assert report.ELSEWHERE in page.read_text()
    assert [point.meta_model for point in benchmark.Log(log).rows] == ["m@1"]


def test_times_of_another_run_than_most_are_marked() -> None:
    manifests = [Catalogue().resolve(name).manifest for name in (NAME, "omniglot-matching", "omniglot-ridge")]
    three = [costs.Cost(m.reference, 5.0, 1.0, 9, run) for m, run in zip(manifests, "bba", strict=True)]
    told = report.table(manifests, three)
    assert told.count("| 5.0 | 1.0 | 9 |") == 2
    assert told.count("| 5.0† | 1.0† | 9 |") == 1
    assert told.endswith(report.ELSEWHERE)
    together = report.table(manifests, [replace(cost, run="b") for cost in three])
    assert "†" not in together
    photo = costs.Cost(Catalogue().resolve("photo-conv4").manifest.reference, 5.0, 1.0, 9, "c")
    assert report.table(manifests, [*(replace(cost, run="b") for cost in three), photo]) == together


def test_a_row_of_more_episodes_stays(tmp_path: Path) -> None:
    log = benchmark.Log(tmp_path / "log")
    row = benchmark.Row("m@1", "a", "table", "L", 5, 1, 15, 0, 1000, seed=0, accuracy=90.0, ci95=1.0)
    log.add(row)
    few = replace(row, episodes=20, accuracy=80.0)
    assert log.find(few)
    log.add(few)
    assert log.rows == [row]
    other_weights = replace(few, weights="b")
    assert log.find(other_weights) is None
    log.add(other_weights)
    assert log.rows == benchmark.Log(tmp_path / "log").rows == [other_weights]


def test_no_more_steps_are_measured_than_the_inner_loop_learned(omniglot: Omniglot) -> None:
    published = Catalogue().resolve("omniglot-mamlpp")
    subject = benchmark.Subject(published, split(omniglot, benchmark.recipe_of(published.manifest)).test)
    assert [job.x for job in benchmark.curve_jobs(subject, 2) if job.curve == "steps"] == [0, 1, 2, 3, 5]


def test_missing_data_are_told_and_the_rest_is_measured(
    omniglot: Omniglot, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read: list[str] = []

    def splits(recipe: Recipe) -> Splits:
        read.append(recipe.name)
        if recipe.data.name != "omniglot":
            raise DataError("photographs are not there")
        return split(omniglot, recipe)

    published = [Catalogue().resolve(name) for name in ("photo-conv4", NAME, "omniglot-matching")]
    log = benchmark.Log(tmp_path / "log")
    costs = benchmark.run(published, splits, log, lambda _: None, episodes=2)
    measured = [one.manifest.reference for one in published[1:]]
    assert [cost.meta_model for cost in costs] == measured
    assert {row.meta_model for row in log.rows} == set(measured)
    assert read == ["photo-conv4", NAME]  # classes that two share are read once
    assert "is not measured: photographs are not there" in caplog.text
    with pytest.raises(DataError, match="photographs are not there"):
        benchmark.run(published[:1], splits, log, lambda _: None, episodes=2)


def test_a_page_without_a_place_for_figures_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("mine")
    with pytest.raises(ValueError, match="lacks the lines"):
        report.write([], [], [], page, tmp_path / "x.png")
    assert page.read_text() == "mine"


def test_every_pool_counts_the_same(pool: ClassPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Independent means: the variance of their mean is the sum of theirs by the square of their number."""
    found, asked = [Accuracy(0.5, 0.03, 10), Accuracy(0.9, 0.04, 10)], []

    def answer(_: object, of: ClassPool, spec: EpisodeSpec, *__: object, **___: object) -> Accuracy:
        asked.append((of.n_classes, spec.n_way))
        return found[len(asked) - 1]

    monkeypatch.setattr(evaluation, "evaluate", answer)
    small = pool.subset(pool.class_groups == 0)
    both = evaluation.evaluate_all(None, (pool, small), EpisodeSpec(12, 1, 1), 10, 0, features=(pool.inputs,) * 2)
    assert (both.mean, both.ci95, both.n_episodes) == pytest.approx((0.7, 0.025, 20))
    assert asked == [(24, 12), (8, 8)]


def test_counts_unbalance_the_support_set(pool: ClassPool) -> None:
    seen: list[list[int]] = []

    class Spy:
        shares_body = False

        def support_features(self, inputs: np.ndarray) -> np.ndarray:
            return inputs

        def adapt(self, features: np.ndarray, labels: np.ndarray, n_way: int, inner: None) -> dict[str, np.ndarray]:
            assert len(features) == len(labels)
            seen.append(np.bincount(labels, minlength=n_way).tolist())
            return {}

        def logits(self, adapted: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
            return np.zeros((len(features), 3), np.float32)

    evaluate(Spy(), pool, EpisodeSpec(3, 7, 2), 8, seed=0, counts=(1, 3, 7))
    assert all(sorted(counts) == [1, 3, 7] for counts in seen)
    assert len({tuple(counts) for counts in seen}) > 1


def test_alphabets_that_are_not_there_are_told(omniglot: Omniglot) -> None:
    recipe = load_recipe(NAME)
    other = recipe.data.model_copy(update={"development_groups": ("Latin", "Latein", "Sketches")})
    with pytest.raises(DataError, match=r"Latein, Sketches is no background alphabet.*; those are Armenian, Gujarati"):
        split(omniglot, recipe.model_copy(update={"data": other}))


def test_cards_are_measured_again_from_where_it_was_interrupted(
    omniglot: Omniglot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Catalogue().resolve(NAME).manifest
    folder = Path(shutil.copytree(ZOO / NAME, tmp_path / NAME))
    short = tuple(figure.model_copy(update={"episodes": 3, "accuracy": 1.0}) for figure in manifest.benchmarks)
    published = Published(folder, manifest.model_copy(update={"benchmarks": short}))
    monkeypatch.setattr(produce, "load_splits", lambda _data, recipe: split(omniglot, recipe))
    log = benchmark.Log(tmp_path / "log")
    measured: list[benchmark.Job] = []
    log.add(benchmark.Row("another@1", "a", "table", "L", 5, 1, 15, 0, 3, seed=0, accuracy=90.0, ci95=1.0))

    def measure(subject: benchmark.Subject, job: benchmark.Job) -> benchmark.Row:
        measured.append(job)
        if len(measured) == 3:
            raise KeyboardInterrupt
        return whole(subject, job)

    whole = benchmark.Subject.measure
    monkeypatch.setattr(benchmark.Subject, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        produce.measure_again(published, tmp_path, log)
    again = produce.measure_again(published, tmp_path, benchmark.Log(tmp_path / "log"), lambda _: None)
    assert [(job.n_way, job.n_shot) for job in measured] == [(5, 1), (5, 5), (20, 1), (20, 1), (20, 5)]
    assert read_manifest(folder) == again
    assert [figure.accuracy > 1 for figure in again.benchmarks] == [True] * 4
    assert [row.meta_model for row in benchmark.Log(tmp_path / "log").rows] == ["another@1"]
    more = produce.measure_again(Published(folder, again), tmp_path, log, lambda _: None, episodes=4)
    assert [(figure.episodes, "--episodes 4" in figure.command) for figure in more.benchmarks] == [(4, True)] * 4
