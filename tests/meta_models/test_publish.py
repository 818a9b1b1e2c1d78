"""What is published is whole, hashed, measured and equal to what was trained, or it is refused."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from meta_models import publish
from meta_models.benchmark import card_settings
from meta_models.calibrate import FALSE_REJECTS, calibrate
from meta_models.catalogue import ZOO, Catalogue, UnknownMetaModelError
from meta_models.datasets import ClassPool
from meta_models.episodes import EpisodeSpec
from meta_models.evaluate import Accuracy, evaluate
from meta_models.manifest import (
    FALSE_REJECT,
    MANIFEST_FILE,
    META_PARAMS_FILE,
    NEVER,
    Figure,
    InnerLoop,
    ManifestError,
    NotCalibratedError,
    read_manifest,
)
from meta_models.on_demand import OnDemand
from meta_models.same_run import locked
from meta_models.serving import ServedModel, probabilities
from meta_models.serving_path import ServingPath
from meta_models.splits import Protocol
from meta_models.torch_model import TorchModel, build_algorithm
from tests.meta_models.test_algorithms import BACKBONE, SHAPE, VARIANTS, a_recipe, a_training


@pytest.fixture(scope="module")
def model() -> TorchModel:
    torch.manual_seed(0)
    algorithm = build_algorithm(VARIANTS["protonet-cosine"], BACKBONE, SHAPE)
    return TorchModel(algorithm, algorithm.init())


@pytest.fixture
def published(made: Path, tmp_path: Path) -> Path:
    """A folder that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "zoo" / "sketches"))


@pytest.fixture(scope="module")
def made(model: TorchModel, pool: ClassPool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "sketches"
    manifest = publish.export(model, a_recipe(VARIANTS["protonet-cosine"]), a_training(), folder)
    path = ServingPath(ServedModel(folder, manifest), model)
    accuracy = evaluate(path, pool, EpisodeSpec(5, 1, 3), 20, 0)
    figure = Figure(
        protocol="sketches",
        n_way=5,
        n_shot=1,
        n_query=3,
        accuracy=100 * accuracy.mean,
        ci95=100 * accuracy.ci95,
        episodes=20,
        seed=0,
        command="pytest",
    )
    fitted = calibrate(path, (pool_of_groups(pool),), 5, 0)
    publish.write_manifest(manifest.model_copy(update={"benchmarks": (figure,), "calibration": fitted}), folder)
    return folder


def pool_of_groups(pool: ClassPool) -> ClassPool:
    """All classes in one group, so that 21-way episodes fit."""
    return ClassPool(pool.inputs, pool.class_examples, pool.class_names, np.zeros_like(pool.class_groups))


def test_a_published_folder_reads_back(published: Path) -> None:
    manifest = read_manifest(published)
    assert manifest.reference == "sketches@1"
    assert set(manifest.files) == {"meta_params.safetensors", "body.onnx", "head.onnx"}
    assert len({(published / name).stat().st_mode for name in manifest.files}) == 1, "who may read one may read all"
    assert manifest.adapted_tensors == {"prototypes": ("n_way", 16)}


@pytest.mark.parametrize("file", ["body.onnx", "head.onnx", META_PARAMS_FILE])
def test_a_changed_file_is_refused(published: Path, file: str) -> None:
    data = bytearray((published / file).read_bytes())
    data[-1] ^= 1
    (published / file).write_bytes(data)
    with pytest.raises(ManifestError, match=file):
        read_manifest(published)


def test_a_missing_file_is_refused(published: Path) -> None:
    (published / "head.onnx").unlink()
    with pytest.raises(ManifestError, match=r"lacks head\.onnx"):
        read_manifest(published)


def test_graphs_that_disagree_with_torch_are_refused(published: Path, model: TorchModel) -> None:
    name = "backbone.blocks.block2.conv.weight"
    drifted = {**model.meta_params, name: model.meta_params[name].flip(0)}
    with pytest.raises(publish.PublishError, match="differ by"):
        publish.check_parity(ServedModel(published), TorchModel(model.algorithm, drifted))


def test_what_is_no_number_is_refused(published: Path, model: TorchModel, tmp_path: Path) -> None:
    spoilt = TorchModel(model.algorithm, {name: torch.full_like(t, torch.nan) for name, t in model.meta_params.items()})
    with pytest.raises(publish.PublishError, match="differ by nan"):
        publish.export(spoilt, a_recipe(VARIANTS["protonet-cosine"]), a_training(), tmp_path / "x")
    with pytest.raises(publish.PublishError, match="have a cosine of nan"):
        publish.check_small_body(ServedModel(published), spoilt)


def test_what_is_published_stays_until_the_next_one_is_whole(
    published: Path, model: TorchModel, tmp_path: Path
) -> None:
    old = read_manifest(published)
    made = publish.export(model, a_recipe(VARIANTS["protonet-cosine"]), a_training(), tmp_path / "made")
    with pytest.raises(publish.PublishError, match="without measured accuracy"):
        publish.put_in_place(made, tmp_path / "made", published, [])
    assert read_manifest(published) == old
    card = {"benchmarks": old.benchmarks, "calibration": old.calibration, "version": 9}
    publish.put_in_place(made.model_copy(update=card), tmp_path / "made", published, [])
    assert read_manifest(published).version == 9
    assert not list(published.parent.glob(".*"))


def test_what_was_published_is_never_lost(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, made, rename = read_manifest(published), tmp_path / "made", Path.rename
    shutil.copytree(published, made)

    def broken(path: Path, target: Path) -> Path:
        if target == published:
            raise OSError("the disk is gone")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        publish.put_in_place(manifest, made, published, [])
    assert read_manifest(published.with_name(".sketches.old")) == manifest
    monkeypatch.undo()
    other = manifest.model_copy(update={"files": {**manifest.files, META_PARAMS_FILE: "0" * 64}})
    assert publish.next_version(other, published, lambda _: None).version == manifest.version + 1
    assert read_manifest(published) == manifest, "whoever publishes next puts it back"


def test_what_answers_otherwise_is_another_version(published: Path, model: TorchModel, tmp_path: Path) -> None:
    """Models that were adapted before name the version that they came from."""
    recipe, old = a_recipe(VARIANTS["protonet-cosine"]), read_manifest(published)
    calibrated = {"calibration": old.calibration}
    same = publish.export(model, recipe, a_training(), tmp_path / "same").model_copy(update=calibrated)
    scaled = {name: 2 * t if name.endswith("log_scale") else t for name, t in model.meta_params.items()}
    scaled = publish.export(TorchModel(model.algorithm, scaled), recipe, a_training(), tmp_path / "other")
    other = scaled.model_copy(update=calibrated)
    warmer = [entry.model_copy(update={"temperature": 9.0}) for entry in old.calibration]
    stepping = {"inner_loop": InnerLoop(inner_steps=1, inner_lr=0.1), "calibration": tuple(warmer)}
    said: list[str] = []
    versions = [
        publish.next_version(one, published, said.append).version
        for one in (same, other, same.model_copy(update=stepping))
    ]
    assert versions == [old.version, old.version + 1, old.version + 1]
    assert said == [
        f"{published} holds sketches@1 of {what}: this one is version 2"
        for what in ("other weights", "another inner loop and another calibration")
    ]
    assert publish.next_version(other, tmp_path / "nothing", said.append).version == other.version
    (published / MANIFEST_FILE).write_text("{}")
    assert publish.next_version(other, published, said.append).version == other.version, "damaged, so never served"


def test_who_publishes_waits_for_another_process(published: Path, tmp_path: Path) -> None:
    manifest, zoo, made = read_manifest(published), published.parent, tmp_path / "made"
    shutil.copytree(published, made)
    with ThreadPoolExecutor(1) as thread, locked(zoo):
        waiting = thread.submit(publish.publish_in, zoo, manifest, made, [], lambda _: None)
        with pytest.raises(TimeoutError):
            waiting.result(0.2)
        other = manifest.model_copy(update={"version": 5})
        publish.put_in_place(other, Path(shutil.copytree(published, tmp_path / "other")), published, [])
    assert waiting.result(10) == read_manifest(published) == other, "of the same weights as were there by then"


def test_what_is_not_whole_is_not_put_in_place(published: Path, tmp_path: Path) -> None:
    manifest, made = read_manifest(published), tmp_path / "made"
    shutil.copytree(published, made)
    (made / "head.onnx").unlink()
    with pytest.raises(ManifestError, match=r"lacks head\.onnx"):
        publish.put_in_place(manifest, made, published, [])
    assert read_manifest(published) == manifest


def test_graphs_do_not_tell_where_they_were_made(published: Path) -> None:
    graphs = [*published.glob("*.onnx"), *ZOO.glob("*/*.onnx")]
    assert len(graphs) > 2
    assert not [path for path in graphs if b".py" in path.read_bytes()]


def test_a_card_without_figures_is_refused(model: TorchModel, tmp_path: Path) -> None:
    manifest = publish.export(model, a_recipe(VARIANTS["protonet-cosine"]), a_training(), tmp_path / "x")
    with pytest.raises(publish.PublishError, match="without measured accuracy"):
        publish.write_manifest(manifest, tmp_path / "x")


def test_a_card_that_lacks_a_figure_is_refused(published: Path, pool: ClassPool) -> None:
    """Of every setting that the test classes have, by every protocol that they are drawn by."""
    manifest = read_manifest(published)
    [figure] = manifest.benchmarks
    wanted = [*card_settings([Protocol("L", pool, 0.0), Protocol("V", pool, 0.0)])]
    figures = tuple(figure.model_copy(update=one._asdict()) for one in wanted)
    assert len(figures) == 8
    lacking = manifest.model_copy(update={"benchmarks": (*figures[:5], *figures[6:])})
    with pytest.raises(publish.PublishError, match=r"lacks the accuracy of 1 .* 5w5s of V"):
        publish.write_manifest(lacking, published, wanted)
    assert read_manifest(published) == manifest
    publish.write_manifest(manifest.model_copy(update={"benchmarks": figures}), published, wanted)
    assert read_manifest(published).benchmarks == figures


def test_a_user_folder_joins_the_catalogue(published: Path) -> None:
    catalogue = Catalogue(published.parent)
    assert catalogue.resolve("sketches@1").folder == published
    with pytest.raises(UnknownMetaModelError, match="sketches@1"):
        catalogue.resolve("sketches@2")


def test_a_user_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=rf"INNERLOOP_META_MODELS_DIR: {tmp_path / 'none'} is no folder"):
        Catalogue(tmp_path / "none")


def test_nothing_replaces_what_comes_with_the_package(tmp_path: Path) -> None:
    shutil.copytree(ZOO / "vector-ridge", tmp_path / "mine")
    with pytest.raises(ManifestError, match=r"mine and .*vector-ridge both hold a meta-model vector-ridge"):
        Catalogue(tmp_path)
    assert len(list(Catalogue(ZOO))) == len(list(Catalogue()))


def test_other_versions_lie_beside_the_one_that_the_name_means(published: Path, tmp_path: Path) -> None:
    """Models that were adapted from them name them so."""
    for source, name, version in (
        (ZOO / "vector-ridge", "vector-ridge", 99),
        (published, "sketches", 2),
        (published, "sketches", 10),
        (published, "sketches", 9),
    ):
        folder = tmp_path / f"{name}-{version}"
        shutil.copytree(source, folder)
        manifest = json.loads((folder / MANIFEST_FILE).read_text())
        (folder / MANIFEST_FILE).write_text(json.dumps({**manifest, "version": version}))
    catalogue = Catalogue(tmp_path)
    assert catalogue.resolve("vector-ridge").folder == ZOO / "vector-ridge"
    assert catalogue.resolve("vector-ridge@99").folder == tmp_path / "vector-ridge-99"
    assert catalogue.resolve("sketches").manifest.version == 10
    assert len(list(catalogue)) == len(list(Catalogue())) + 1
    served = OnDemand(catalogue, lambda p: p.folder.name)
    assert served["sketches@2"] == "sketches-2"
    assert served["vector-ridge@99"] == "vector-ridge-99"


def test_the_alias_names_the_best_on_development_classes_of_its_protocol(published: Path) -> None:
    best = Catalogue().aliases["drawing"]
    ours, mine = "meta_models/recipes/omniglot-protonet.toml", "mine.toml"
    for recipe, protocol, development, named in (
        (ours, "L", 99.99, "sketches"),
        (ours, "L", 1.0, best),
        (ours, "own classes", 99.99, best),
        (mine, "L", 99.99, best),
    ):
        manifest = json.loads((published / MANIFEST_FILE).read_text())
        manifest["training"] |= {"development_accuracy": development, "recipe": recipe}
        manifest["benchmarks"] = [{**manifest["benchmarks"][0], "protocol": protocol}]
        (published / MANIFEST_FILE).write_text(json.dumps(manifest))
        assert Catalogue(published.parent).aliases["drawing"] == named


def test_serving_and_torch_give_the_same_accuracy(published: Path, model: TorchModel, pool: ClassPool) -> None:
    path = ServingPath(ServedModel(published), model)
    spec = EpisodeSpec(5, 1, 3)
    assert evaluate(path, pool, spec, 20, 1).mean == pytest.approx(evaluate(model, pool, spec, 20, 1).mean, abs=0.01)


def test_confidence_interval_of_known_values() -> None:
    accuracy = Accuracy.of([0.8, 1.0, 0.9, 0.7])
    assert accuracy.mean == pytest.approx(0.85)
    assert accuracy.ci95 == pytest.approx(3.182 * 0.1290994 / 2, rel=0.01)


@pytest.mark.parametrize(
    ("values", "half"),
    [([1.0] * 4, 0.49), ([1.0] * 1000, 0.0038), ([0.0] * 4, 0.49), ([0.7] * 10, 0.303), ([0.5], 0.445)],
)
def test_episodes_that_came_out_alike_are_no_certainty(values: list[float], half: float) -> None:
    assert Accuracy.of(values).ci95 == pytest.approx(half, abs=0.01 * half)
    assert Accuracy.of_differences(values).ci95 == 0


def test_probabilities_sum_to_one_even_for_huge_logits(published: Path) -> None:
    calibration = read_manifest(published).calibration[0]
    rows = probabilities(np.array([[1e4, 0.0], [-1e4, 1e4]], np.float32), calibration)
    assert np.allclose(rows.sum(1), 1)
    assert np.isfinite(rows).all()


def test_rejection_thresholds_follow_the_false_reject_rate(published: Path) -> None:
    for entry in read_manifest(published).calibration:
        shares, logits = zip(*entry.rejection_logits, strict=True)
        assert shares == FALSE_REJECTS
        assert list(logits) == sorted(logits)
        assert entry.reject_below(None) == entry.reject_below(FALSE_REJECT) == entry.rejection_logit
        assert entry.reject_below(0) == NEVER
        assert entry.reject_below(0.1) <= entry.reject_below(0.15) <= entry.reject_below(0.2)
        with pytest.raises(NotCalibratedError, match=r"0\.005 to 0\.5"):
            entry.reject_below(0.6)
        old = entry.model_copy(update={"rejection_logits": ()})
        assert old.reject_below(FALSE_REJECT) == entry.rejection_logit
        with pytest.raises(NotCalibratedError, match=r"0\.05 alone"):
            old.reject_below(0.1)
