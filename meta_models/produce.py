"""From a recipe to a published folder: train, choose on development classes, export, calibrate, measure, publish."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from meta_models import checkpoint
from meta_models.algorithms import Tensors
from meta_models.all_classes import RUN as ALL_CLASSES
from meta_models.all_classes import learn_from_all
from meta_models.benchmark import Log, Subject, card_jobs, card_settings, default_episodes, recipe_of
from meta_models.calibrate import calibrate
from meta_models.catalogue import ZOO, Published
from meta_models.evaluate import Classifier, evaluate_all
from meta_models.manifest import META_PARAMS_FILE, Figure, Manifest, Training, read_manifest
from meta_models.meta_train import OnProgress, evaluate_settings, meta_train
from meta_models.own_classes import left_out
from meta_models.plots import plot_log
from meta_models.pretrained import ENCODERS, encoder_folder, encoder_tensors
from meta_models.provenance import command, provenance
from meta_models.publish import check_zoo, export, publish_in, write_manifest
from meta_models.recipe import Recipe
from meta_models.recipe_checks import why_not_normalised
from meta_models.same_run import alone_in, digest
from meta_models.search import SEARCH_LOG, choose_inner, keep_log
from meta_models.serving import ServedModel
from meta_models.serving_path import ServingPath
from meta_models.settle import settled
from meta_models.sources import check_examples, check_folder, load_splits
from meta_models.splits import Pools, Splits
from meta_models.torch_model import TorchModel

BROUGHT_SEED = 6
"""Of development episodes that chose nothing: 1 watches training, 2 calibrates, 3 chooses the inner loop (`search.py`),
4 is the card's `development_accuracy`, 5 chooses an encoder's head."""
MADE = "published"
"""Where a run keeps what it publishes until its last figure is measured."""

Say = Callable[[str], None]
"""Told each finished stage in words."""


def produce(
    recipe: Recipe,
    data: Path,
    run: Path,
    *,
    zoo: Path = ZOO,
    episodes: int | None = None,
    device: str | None = None,
    say: Say = print,
    on_progress: OnProgress | None = None,
) -> Manifest:
    """Run everything a recipe asks for; steps of the outer loops and figures that are done already are not done again.

    Args:
        recipe: what to make.
        data: folder of the data set, filled where it is empty.
        run: folder of checkpoint, logs and plots, and of one process at a time.
        zoo: where the published folder goes, as `zoo/<name>`.
        episodes: test episodes a figure; by default 10,000, or 1,000 where every episode costs gradient steps.
        device: where to train.
        say, on_progress: told what happens.

    Raises:
        DataError: the classes cannot be used, or `data` holds something else than the data set.
        PublishError: the graphs disagree with torch, the card lacks a figure, or `zoo` cannot be published in.
        FileNotFoundError: the meta-model to begin from is not published.
        OSError: a file cannot be written.
        ValueError: another process works in `run`, or its checkpoint is of another recipe, other classes or weights.
    """
    check_zoo(zoo)
    with alone_in(run):
        if note := why_not_normalised(recipe):
            say(note)
        check_folder(data, recipe)
        start, recipe = _start(recipe, zoo, data)
        splits = load_splits(data, recipe, run.parent / "cache")
        check_examples(splits, recipe)
        recipe = _within(recipe, splits.development)
        if recipe.data.name == "folder" and (note := left_out(data)):
            say(note)
        say("{}: {} classes to learn from, {} to choose by, {} to report".format(recipe.name, *splits.n_classes))
        model = meta_train(recipe, splits, run, start=start, device=device, on_progress=on_progress)
        model = settled(model, start, recipe, splits.train)
        plot_log(run)
        trained = recipe
        model, recipe, notes = choose_inner(model, recipe, splits.development, run / SEARCH_LOG, say)
        if start and recipe.data.name == "folder" and recipe.initialize_from not in ENCODERS:
            brought = _what_it_brought(model, recipe, zoo, splits.development)
            say(brought)
            notes = " ".join(filter(None, (notes, f"{brought}.")))
        made = run / MADE
        development = development_percent(model, recipe, splits.development)
        say(f"{development}% on development episodes, mean over {len(recipe.development.settings)} settings")
        manifest = export(model, recipe, _training(recipe, splits, run, notes, development), made)
        say("graphs agree with torch")
        path = ServingPath(ServedModel(made, manifest), TorchModel.load(made, manifest))
        if recipe.small_body:
            development = development_percent(path, recipe, splits.development)
            say(f"{development}% with the body's weights in eight bits")
            training = manifest.training.model_copy(update={"development_accuracy": development})
            manifest = manifest.model_copy(update={"training": training})
        calibration = calibrate(path, splits.development, n_calibrating(model, splits.development))
        manifest = manifest.model_copy(update={"calibration": calibration})
        if recipe.outer.all_classes_steps:
            model = learn_from_all(model, trained, splits, run, device=device, on_progress=on_progress)
            training = _with_all_classes(manifest.training, recipe, run)
            manifest = export(model, recipe, training, made).model_copy(update={"calibration": calibration})
            n_classes = sum(splits.n_classes[:2])
            say(f"{recipe.outer.all_classes_steps} steps more, from {n_classes} classes; graphs agree again")
        measured = Log(run / f"figures-{digest(tuple(protocol.pool for protocol in splits.test))}.jsonl")
        subject = Subject(Published(made, manifest), splits.test)
        figures = measure_figures(subject, command(recipe), episodes, say, measured)
        manifest = keep_log(manifest.model_copy(update={"benchmarks": figures}), run / SEARCH_LOG, made)
        manifest = publish_in(zoo, manifest, made, card_settings(splits.test), say)
        shutil.rmtree(made)
        say(f"published {manifest.reference} in {zoo / recipe.name}")
        return manifest


def n_calibrating(model: TorchModel, pools: Pools) -> int:
    """Episodes a setting and pool: each of a network of its own costs passes through it."""
    return 50 if model.adapts_backbone else 1000 // len(pools)


def _start(recipe: Recipe, zoo: Path, data: Path) -> tuple[Tensors | None, Recipe]:
    """The meta_params that a recipe begins from: an encoder's, or published beside it or with this package; and the
    recipe, which finds its tokenizer where the encoder is."""
    if recipe.initialize_from is None:
        return None, recipe
    if recipe.initialize_from in ENCODERS:
        folder = encoder_folder(recipe.initialize_from, data)
        return encoder_tensors(folder), recipe.model_copy(update={"input": recipe.input.located(folder)})
    return load_file(_published(recipe.initialize_from, recipe, zoo) / META_PARAMS_FILE), recipe


def _published(name: str, recipe: Recipe, zoo: Path) -> Path:
    folder = next((z / name for z in (zoo, ZOO) if (z / name).exists()), None)
    if folder is None:
        raise FileNotFoundError(
            f"{recipe.name} begins from {name}, which is not published yet; run `innerloop meta-train {name}` first"
        )
    return folder


def _within(recipe: Recipe, pools: Pools) -> Recipe:
    """The recipe with settings that say how many classes an episode of these pools really has; of several pools, of
    the largest."""
    specs = [recipe.development_spec(*one) for one in recipe.development.settings]
    settings = tuple(dict.fromkeys((max(spec.for_pool(pool).n_way for pool in pools), spec.n_shot) for spec in specs))
    return recipe.model_copy(update={"development": recipe.development.model_copy(update={"settings": settings})})


def _what_it_brought(model: TorchModel, recipe: Recipe, zoo: Path, pools: Pools) -> str:
    """Development accuracy beside that of the meta-model it began from, as that is published."""
    folder = _published(recipe.initialize_from or "", recipe, zoo)
    before = TorchModel.load(folder, read_manifest(folder), str(model.device))
    before.algorithm.backbone.to(model.device)
    n_way, n_shot = recipe.development.settings[0]
    spec = recipe.development_spec(n_way, n_shot)
    n = recipe.development.n_episodes
    after, first = (evaluate_all(m, pools, spec, n, BROUGHT_SEED) for m in (model, before))
    return f"{n_way}w{n_shot}s on development classes: {after}; {recipe.initialize_from}, where it began: {first}"


def measure_again(
    published: Published, data: Path, log: Log, say: Say = print, episodes: int | None = None
) -> Manifest:
    """Measure a published meta-model's card once more, by default on as many episodes, and write it. `log` keeps what
    is measured until then, for a run that goes on after an interruption."""
    old = published.manifest
    subject = Subject(published, load_splits(data, recipe_of(old)).test)
    asked = episodes or min(figure.episodes for figure in old.benchmarks)
    episodes = None if asked == default_episodes(subject.path.shares_body) else asked
    figures = measure_figures(subject, f"innerloop meta-train {old.name}", episodes, say, log)
    manifest = old.model_copy(update={"benchmarks": figures})
    write_manifest(manifest, published.folder, card_settings(subject.protocols.values()))
    log.forget("table", old.reference)
    return manifest


def measure_figures(
    subject: Subject, command: str, episodes: int | None, say: Say, log: Log | None = None
) -> tuple[Figure, ...]:
    """Accuracy on test classes, which nothing before has seen; `command` makes the same figures again. What `log` holds
    of as many episodes is not measured."""
    inner = subject.manifest.inner_loop
    figures: list[Figure] = []
    command += f" --episodes {episodes}" if episodes else ""
    for job in card_jobs(subject, episodes or default_episodes(subject.path.shares_body)):
        row = log.find(job) if log else None
        if row is None or row.episodes != job.episodes:
            row = subject.measure(job)
            if log:
                log.add(row)
        say(f"{row.protocol} {row.n_way}w{row.n_shot}s: {row.accuracy:.2f} ± {row.ci95:.2f}")
        figures.append(
            Figure(
                protocol=row.protocol,
                n_way=row.n_way,
                n_shot=row.n_shot,
                n_query=row.n_query,
                accuracy=row.accuracy,
                ci95=row.ci95,
                episodes=row.episodes,
                seed=row.seed,
                inner_steps=inner.inner_steps if inner else None,
                calibration_error=row.calibration_error,
                command=command,
            )
        )
    return tuple(figures)


def development_percent(model: Classifier, recipe: Recipe, pools: Pools) -> float:
    """Percent, mean over the recipe's settings, on episodes that chose nothing else."""
    found = evaluate_settings(model, recipe, pools, seed=4)
    return round(100 * sum(accuracy.mean for accuracy in found) / len(found), 2)


def _with_all_classes(training: Training, recipe: Recipe, run: Path) -> Training:
    """What a card says where development classes were learned from at the end."""
    state = checkpoint.load(run / ALL_CLASSES / checkpoint.CHECKPOINT, torch.device("cpu"))
    note = (
        f"The last {state.step} steps learned from development classes too; calibration and development accuracy are "
        "of the weights before them."
    )
    return training.model_copy(
        update={
            "steps": training.steps + state.step,
            "minutes": round(training.minutes + state.seconds / 60, 1),
            "notes": " ".join(filter(None, (training.notes, note))),
        }
    )


def _training(recipe: Recipe, splits: Splits, run: Path, notes: str, development: float) -> Training:
    state = checkpoint.load(run / checkpoint.CHECKPOINT, torch.device("cpu"))
    apart = " and ".join(f"`{name}`" for name in recipe.outer.from_development)
    said = (
        f"Began from {recipe.initialize_from}." if recipe.initialize_from else "",
        notes,
        f"{apart} learned from the classes that calibration and development accuracy are of." if apart else "",
        recipe.beside_paper,
    )
    return Training(
        **provenance(recipe, splits),
        recipe_files=recipe.files,
        steps=state.step,
        minutes=round(state.seconds / 60, 1),
        hardware=state.hardware,
        notes=" ".join(filter(None, said)),
        development_accuracy=development,
    )
