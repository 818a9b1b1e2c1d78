"""An encoder of one's own: read as its files say, refused with the reason, given a head that suits it."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from tokenizers import Tokenizer

from meta_models.algorithms.named import trust
from meta_models.catalogue import Catalogue
from meta_models.datasets import ClassPool, DataError
from meta_models.decompositions import NotDecomposableError
from meta_models.encoders import EncoderError, files
from meta_models.encoders.body import make_body, read_graph, try_body
from meta_models.encoders.files import find_encoder
from meta_models.encoders.heads import NO_WORTH, choose_head
from meta_models.encoders.publish import add_encoder
from meta_models.encoders.reading import Options, photo_spec, text_spec
from meta_models.export_adapting import export_adapting
from meta_models.inputs import Caps, PhotoSpec, TextSpec
from meta_models.manifest import Manifest, read_manifest
from meta_models.serving import ServedModel, cpu_session, run_body
from meta_models.torch_model import TorchModel
from tests import encoders
from tests.local_server import Answer, listening

QUIET = Options()


def quietly(_: str) -> None:
    """Say nothing."""


def bodies(where: Path, tmp_path: Path, options: Options = QUIET) -> Path:
    """The body of the encoder at `where`, tried and saved."""
    body = make_body(find_encoder(str(where)), options)
    path = tmp_path / "body.onnx"
    onnx.save(body.graph, path)
    try_body(path, body.spec)
    return path


@pytest.mark.parametrize("opset", [11, 13, 20])
def test_pixels_reach_the_encoder_as_its_files_say(opset: int, tmp_path: Path) -> None:
    folder = encoders.image_encoder(tmp_path / "tiny", opset=opset)
    rows = PhotoSpec(size=encoders.SIZE).examples(np.random.default_rng(0), np.arange(4))
    given = (rows / 255 - np.reshape(encoders.MEAN, (3, 1, 1))) / np.reshape(encoders.STD, (3, 1, 1))
    session = cpu_session(folder / "model.onnx")
    _, pooled = session.run(None, {"pixel_values": given.astype(np.float32)})
    [found] = cpu_session(bodies(folder, tmp_path)).run(None, {"inputs": rows})
    np.testing.assert_allclose(found, pooled, atol=1e-5)


def test_what_the_user_says_comes_first(tmp_path: Path) -> None:
    folder = encoders.image_encoder(tmp_path / "tiny")
    options = Options(size=24, mean=(0, 0, 0), std=(1, 1, 1), output="last_hidden_state")
    rows = PhotoSpec(size=24).examples(np.random.default_rng(0), np.arange(4))
    places, _ = cpu_session(folder / "model.onnx").run(None, {"pixel_values": (rows / 255).astype(np.float32)})
    [found] = cpu_session(bodies(folder, tmp_path, options)).run(None, {"inputs": rows})
    np.testing.assert_allclose(found, np.asarray(places).mean((2, 3)), atol=1e-5)


@pytest.mark.parametrize(("padding", "types"), [(0, True), (1, False)])
def test_texts_are_the_mean_of_their_own_tokens(padding: int, types: bool, tmp_path: Path) -> None:
    folder = encoders.text_encoder(tmp_path / "words", padding=padding, types=types)
    body = make_body(find_encoder(str(folder)), QUIET)
    assert isinstance(body.spec, TextSpec)
    texts = ["w0x1 w0x2", "w3x1 w4x2 w5x3 w6x4 w7x5 w8x0 w9x1"]
    rows = np.stack([body.spec.with_name(body.spec.read(text, Caps()), "w3x1") for text in texts])
    found = run_body(cpu_session(bodies(folder, tmp_path)), body.spec, rows)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = cpu_session(folder / "onnx" / "model.onnx")
    for row, text in zip(found, texts, strict=True):
        for vector, read in zip(row, (text, "w3x1"), strict=True):
            ids = np.array([tokenizer.encode(read).ids], np.int64)
            given = {
                value.name: ids if value.name == "input_ids" else np.ones_like(ids) for value in session.get_inputs()
            }
            np.testing.assert_allclose(vector, np.asarray(session.run(None, given)[0])[0].mean(0), atol=1e-5)


def test_the_first_token_where_pooling_says_so(tmp_path: Path) -> None:
    folder = encoders.text_encoder(tmp_path / "words")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    found = run_body(
        cpu_session(bodies(folder, tmp_path)),
        TextSpec(n_tokens=99, max_tokens=16, name_tokens=4),
        np.array([[2, 7, 8, 3, *[0] * 12, 2, 9, 3, 0]], np.int32),
    )
    np.testing.assert_allclose(found[0, 0], found[0, 1])  # both begin with [CLS]
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_weightedmean_tokens": True}))
    with pytest.raises(EncoderError, match="pools by weightedmean_tokens; choose --pooling"):
        make_body(find_encoder(str(folder)), QUIET)


def test_weights_beside_the_graph_come_along(tmp_path: Path) -> None:
    inside = encoders.image_encoder(tmp_path / "inside")
    outside = encoders.image_encoder(tmp_path / "outside")
    model = onnx.load(outside / "model.onnx")
    onnx.save(model, outside / "model.onnx", save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    rows = PhotoSpec(size=encoders.SIZE).examples(np.random.default_rng(0), np.arange(2))
    there, here = (cpu_session(bodies(folder, tmp_path)).run(None, {"inputs": rows})[0] for folder in (inside, outside))
    np.testing.assert_array_equal(there, here)
    (outside / "model.onnx_data").unlink()
    with pytest.raises(EncoderError, match=r"in model\.onnx_data, which is not beside it"):
        read_graph(outside / "model.onnx")


def test_too_much_for_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = encoders.image_encoder(tmp_path / "tiny")
    monkeypatch.setattr("meta_models.encoders.body.MOST_BYTES", 1000)
    with pytest.raises(EncoderError, match="fit into one file; export it in half precision"):
        read_graph(folder / "model.onnx")


CLIP = {"crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "size": {"shortest_edge": 256}}


@pytest.mark.parametrize(
    ("config", "size", "scale", "shift"),
    [
        (CLIP, 224, 1 / 255, 0.0),
        ({"size": {"height": 192, "width": 192}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}, 192, 2 / 255, -1.0),
        ({"size": 128, "do_rescale": False, "do_normalize": False, "image_mean": [9.0] * 3}, 128, 1.0, 0.0),
        ({"size": 64, "rescale_factor": 0.5, "image_std": 0.25}, 64, 2.0, 0.0),
    ],
)
def test_how_transformers_files_say_pictures_are_read(
    config: dict[str, object], size: int, scale: float, shift: float, tmp_path: Path
) -> None:
    encoders.image_encoder(tmp_path / "tiny")
    (tmp_path / "tiny" / "preprocessor_config.json").write_text(json.dumps(config))
    found = find_encoder(str(tmp_path / "tiny"))
    spec, pixels = photo_spec(found, None, QUIET)
    assert spec.size == size
    assert pixels.scale == pytest.approx((scale,) * 3)
    assert pixels.shift == pytest.approx((shift,) * 3)
    with pytest.raises(EncoderError, match="the graph takes pictures of 32x32, not of 40x40"):
        photo_spec(found, 32, Options(size=40))


def test_the_fewest_tokens_that_any_file_says(tmp_path: Path) -> None:
    found = find_encoder(str(encoders.text_encoder(tmp_path / "words")))
    assert text_spec(found, QUIET)[0].max_tokens == 128
    (found.folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 1e30}))
    (found.folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 64}))
    assert text_spec(found, QUIET)[0].max_tokens == 64
    assert text_spec(found, Options(max_tokens=32))[0].max_tokens == 32


def a_graph(folder: Path, nodes: list[onnx.NodeProto], **domains: int) -> Path:
    """`pixels` to `out` through these nodes."""
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 16, 16])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    opsets = [helper.make_opsetid(domain, version) for domain, version in {"": 20, **domains}.items()]
    model = helper.make_model(helper.make_graph(nodes, "g", [pixels], [out]), opset_imports=opsets, ir_version=10)
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    return folder


def test_what_cannot_serve_says_why(tmp_path: Path) -> None:
    fixed = encoders.image_encoder(tmp_path / "fixed", batch=1)
    broken = encoders.image_encoder(tmp_path / "broken", broken=True)
    sized = encoders.image_encoder(tmp_path / "sized")
    (sized / "preprocessor_config.json").unlink()
    misnamed = encoders.text_encoder(tmp_path / "misnamed", names=("input_ids", "mask"))
    wordless = encoders.text_encoder(tmp_path / "wordless")
    (wordless / "tokenizer.json").unlink()
    shared = a_graph(
        tmp_path / "shared",
        [
            helper.make_node("Flatten", ["pixels"], ["flat"]),
            helper.make_node("Softmax", ["flat"], ["out"], axis=0),
        ],
    )
    single = a_graph(tmp_path / "single", [helper.make_node("ReduceMean", ["pixels"], ["out"], keepdims=0)])
    custom = a_graph(tmp_path / "custom", [helper.make_node("Own", ["pixels"], ["out"], domain="own")], own=1)
    garbage = tmp_path / "garbage"
    garbage.mkdir()
    (garbage / "model.onnx").write_bytes(b"not a graph at all")
    for folder, reason in {
        fixed: "takes exactly 1 examples at a time; export it with an open first axis",
        broken: "gives NaN or infinity for made-up inputs",
        sized: "nothing says how large the pictures of sized are: give --size",
        misnamed: r"its inputs are input_ids int64 \(batch, sequence\); mask int64 \(.*text encoder has input_ids and",
        wordless: r"has no tokenizer\.json",
        shared: "change by .* with the inputs beside it",
        single: r"its output out has shape \(\) for 3 inputs",
        custom: "operators of own, which need code of their own",
        garbage: "is not an ONNX model",
    }.items():
        with pytest.raises(EncoderError, match=reason):
            bodies(folder, tmp_path)
    with pytest.raises(EncoderError, match="no output nothing; it has last_hidden_state, pooler_output"):
        bodies(encoders.image_encoder(tmp_path / "tiny"), tmp_path, Options(output="nothing"))


def test_a_folder_with_several_graphs_asks_which(tmp_path: Path) -> None:
    folder = encoders.image_encoder(tmp_path / "tiny")
    (folder / "model.onnx").rename(folder / "vision.onnx")
    assert find_encoder(str(folder)).model.name == "vision.onnx"
    (folder / "other.onnx").write_bytes(b"")
    with pytest.raises(EncoderError, match=r"several ONNX files .* --file: other\.onnx, vision\.onnx"):
        find_encoder(str(folder))
    with pytest.raises(EncoderError, match=r"no mine\.onnx; choose one"):
        find_encoder(str(folder), "mine.onnx")
    assert find_encoder(str(folder), "vision.onnx").licence == "apache-2.0"
    assert find_encoder(str(folder / "vision.onnx")).folder == folder
    with pytest.raises(EncoderError, match="no folder, no file, and no name on the hub"):
        find_encoder(str(tmp_path / "none"))


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def a_hub(name: str, folder: Path) -> Iterator[str]:
    """What the hub's library asks of the hub: a model's list of files, and each with its checksum."""
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}

    listed = json.dumps({"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in there]})
    prefix = f"/{name}/resolve/{COMMIT}/"

    def answer(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        path = path.partition("?")[0]
        if path == f"/api/models/{name}/revision/main":
            return 200, {}, listed.encode()
        if path.startswith(prefix) and (file := there.get(path.removeprefix(prefix))):
            data = file.read_bytes()
            return 200, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}, data
        return 404, {"X-Error-Code": "RepoNotFound"}, b""

    with listening(answer) as port:
        yield f"http://127.0.0.1:{port}"


def test_a_name_on_the_hub_is_downloaded(tmp_path: Path) -> None:
    folder = encoders.text_encoder(tmp_path / "words")
    (folder / "README.md").write_text('---\nlicense: "mit"\n---\n')
    (folder / "pytorch_model.bin").write_bytes(b"never asked for")
    with a_hub("people/words", folder) as endpoint:
        found = find_encoder("people/words", cache=tmp_path / "cache", endpoint=endpoint)
        with pytest.raises(DataError, match="people/none cannot be downloaded from the hub"):
            find_encoder("people/none", cache=tmp_path / "cache", endpoint=endpoint)
    assert (found.licence, found.source) == ("mit", f"{endpoint}/people/words/tree/{COMMIT}")
    assert found.model.read_bytes() == (folder / "onnx" / "model.onnx").read_bytes()
    kept = {path.name for path in found.folder.rglob("*") if path.is_file() and ".cache" not in path.parts}
    assert kept == {"README.md", "model.onnx", "tokenizer.json"}
    assert isinstance(make_body(found, QUIET).spec, TextSpec)


def a_pool(rng: np.random.Generator, shift: float, names: bool) -> ClassPool:
    """Twelve classes far from the origin, so that all directions look alike; with the names of the classes."""
    means = rng.normal(0, 1, (12, 8))
    rows = np.repeat(means, 10, axis=0) + rng.normal(0, 0.8, (120, 8)) + shift
    named = np.stack([rows, np.repeat(means if names else rng.permutation(means), 10, axis=0) + shift], axis=1)
    return ClassPool.by_label(named.astype(np.float32), np.repeat(np.arange(12), 10), np.arange(120))


def test_a_common_part_is_taken_off() -> None:
    rng = np.random.default_rng(0)
    learn, choose = (a_pool(rng, 6.0, True) for _ in range(2))
    bare = [ClassPool(p.inputs[:, 0], p.class_examples, p.class_names, p.class_groups) for p in (learn, choose)]
    told: list[str] = []
    best = choose_head(*bare, (3, 8, 8), told.append)
    assert best.head.centre.mean() == pytest.approx(6.0, abs=0.5)
    plain = next(float(line.partition("%")[0]) for line in told if "protonet, uncentred" in line)
    assert 100 * best.mean > plain + 2
    assert best.head.values["log_scale"] > math.log(1.5)


@pytest.mark.parametrize("telling", [True, False])
def test_names_count_where_they_tell(telling: bool) -> None:
    rng = np.random.default_rng(0)
    best = choose_head(a_pool(rng, 0.0, telling), a_pool(rng, 0.0, telling), (152,), quietly)
    assert (best.head.values["log_worth"] > NO_WORTH) == telling


def test_names_are_trusted_by_the_features_that_a_head_sees() -> None:
    """Where classes to choose by have another common part, features stay as they came, and names count for them too."""
    rng = np.random.default_rng(0)
    learn, choose = (a_pool(rng, shift, True) for shift in (3.0, -3.0))
    head = choose_head(learn, choose, (152,), quietly).head
    assert not head.centre.any()
    meta_params = {name: torch.tensor(value) for name, value in head.values.items()}
    means, names = torch.from_numpy(choose.inputs[::10]).unbind(1)
    assert trust(meta_params, means, names) > 0.5


def added(tmp_path: Path, name: str = "colours") -> Manifest:
    encoder = tmp_path / "tiny"
    data = tmp_path / "photos"
    if not data.is_dir():
        encoders.image_encoder(encoder)
        encoders.photos(data)
    return add_encoder(name, find_encoder(str(encoder)), data, zoo=tmp_path / "zoo", episodes=20, say=quietly)


def test_the_published_folder_is_whole(tmp_path: Path) -> None:
    manifest = added(tmp_path)
    folder = tmp_path / "zoo" / "colours"
    assert set(manifest.files) == {"meta_params.safetensors", "body.onnx", "head.onnx"}
    read = read_manifest(folder)
    assert read.benchmarks == manifest.benchmarks
    assert {(f.n_way, f.n_shot) for f in read.benchmarks} == {(5, 1), (5, 5), (8, 1), (8, 5)}
    assert all(figure.accuracy > 60 for figure in read.benchmarks)
    assert (read.training.licence, read.training.source) == ("apache-2.0", "a folder")
    assert hashlib.sha256((tmp_path / "tiny" / "model.onnx").read_bytes()).hexdigest() in read.training.notes
    assert str(tmp_path) not in (folder / "manifest.json").read_text()
    rows = read.input.examples(np.random.default_rng(0), np.arange(3))
    assert ServedModel(folder).features(rows).shape == (3, encoders.WIDTH)
    catalogue = Catalogue(tmp_path / "zoo")
    assert catalogue.resolve("colours").folder == folder
    assert "colours" not in catalogue.aliases.values()


@pytest.mark.slow
def test_another_version_is_of_other_weights(tmp_path: Path) -> None:
    assert added(tmp_path).reference == "colours@1"
    assert added(tmp_path).reference == "colours@1", "the same weights, measured again"
    shutil.rmtree(tmp_path / "photos")
    encoders.photos(tmp_path / "photos", 19)
    assert added(tmp_path).reference == "colours@2"


def test_an_adapting_export_says_that_there_is_none(tmp_path: Path) -> None:
    manifest = added(tmp_path)
    model = TorchModel.load(tmp_path / "zoo" / "colours", manifest)
    with pytest.raises(NotDecomposableError, match="has no adapting export; export an adapted model instead"):
        export_adapting(model, manifest)


def test_the_centre_is_in_the_graph(tmp_path: Path) -> None:
    """Features of the search, minus the centre, are what the published graph gives, to the bit."""
    body = make_body(find_encoder(str(encoders.image_encoder(tmp_path / "tiny"))), QUIET)
    centre = np.random.default_rng(0).normal(0, 1, encoders.WIDTH).astype(np.float32)
    rows = body.spec.examples(np.random.default_rng(0), np.arange(3))
    plain, moved = (
        run_body(cpu_session(made.graph.SerializeToString()), body.spec, rows) for made in (body, body.centred(centre))
    )
    np.testing.assert_array_equal(plain - centre, moved)


def test_too_few_classes_and_wrong_names_are_refused(tmp_path: Path) -> None:
    encoder = find_encoder(str(encoders.image_encoder(tmp_path / "tiny")))
    data = encoders.photos(tmp_path / "photos", 4)
    with pytest.raises(DataError, match="has 4 classes, at least 18 are needed"):
        add_encoder("colours", encoder, data, zoo=tmp_path / "zoo", say=quietly)
    for name in ("text", "auto", "Mine!"):
        with pytest.raises(EncoderError, match="cannot be a name"):
            add_encoder(name, encoder, data, zoo=tmp_path / "zoo", say=quietly)
    with pytest.raises(EncoderError, match=r"photo-resnet12 comes with this package.* like my-photo-resnet12"):
        add_encoder("photo-resnet12", encoder, data, zoo=tmp_path / "zoo", say=quietly)
    assert not (tmp_path / "zoo").exists()


def test_only_data_is_ever_fetched() -> None:
    """Promise 8: of a hub's files none that could hold code."""
    assert all(name.endswith((".json", ".md")) for name in files.BESIDE)
