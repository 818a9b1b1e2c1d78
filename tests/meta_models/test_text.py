"""Texts as rows of token ids, class names as a prior, and an encoder served at any length."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional

from meta_models.algorithms.named import Named
from meta_models.augment_text import TextAugmentSpec, change_names
from meta_models.backbones.identity import Identity
from meta_models.catalogue import ZOO
from meta_models.inputs import Caps, TextSpec, UnreadableInput, modality_of
from meta_models.manifest import Manifest, read_manifest
from meta_models.publish import check_parity, write_manifest
from meta_models.serving import ServedModel
from meta_models.torch_model import TorchModel
from tests.texts import VOCABULARY, published, spec


@pytest.fixture
def text(tmp_path: Path) -> TextSpec:
    return spec(tmp_path / "tokenizer")


class Published(NamedTuple):
    folder: Path
    model: TorchModel
    manifest: Manifest

    @property
    def served(self) -> ServedModel:
        return ServedModel(self.folder, self.manifest)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """An encoder with its weights as they are."""
    folder = tmp_path_factory.mktemp("whole")
    return Published(folder / "published", *published(spec(folder / "tokenizer"), folder / "published"))


def ids(*words: str) -> list[int]:
    return [2, *(VOCABULARY[word] for word in words), 3]


def test_a_text_is_its_tokens_and_then_nothing(text: TextSpec) -> None:
    row = text.read("My card has NOT arrived", Caps())
    assert row.shape == text.shape
    assert row.dtype == np.int32
    assert row[:7].tolist() == ids("my", "card", "has", "not", "arrived")
    assert not row[7:].any()
    for encoded in ("utf-8", "utf-16-le", "utf-16-be"):
        assert (text.read("\ufeffmy card has not arrived".encode(encoded), Caps()) == row).all()


def test_what_is_too_long_keeps_its_beginning_and_its_end_mark(text: TextSpec) -> None:
    row = text.read("card " * 50, Caps())
    assert row[: text.max_tokens].tolist() == [2, *[VOCABULARY["card"]] * 30, 3]


def test_it_is_said_which_texts_are_cut_and_which_are_unknown(text: TextSpec) -> None:
    texts = ["my card", "card " * 30, "card " * 29 + "back", "card " * 31, "karte karte card", "karte card"]
    rows = np.stack([text.read(content, Caps()) for content in texts])
    cut, unknown = (mask.tolist() for mask in text.doubts(rows).values())
    assert cut == [False, True, True, True, False, False]
    assert unknown == [False, False, False, False, True, False]


@pytest.mark.parametrize("name", ["card_arrival", "card-arrival", "Card Arrival", "cardArrival", "  card   arrival "])
def test_a_class_name_is_read_as_words(text: TextSpec, name: str) -> None:
    row = text.with_name(text.read("where is it", Caps()), name)
    own, named = text.parts(row[None])
    assert named[0, :4].tolist() == ids("card", "arrival")
    assert own[0, :2].tolist() == ids("where", "is")[:2]
    assert (text.with_name(row, "refund")[text.max_tokens :][:3] == ids("refund")).all()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "empty_text"),
        (" \n\t", "empty_text"),
        ("x" * 101, "text_too_large"),
        (b"\xff\xfe", "empty_text"),
        (b"\xff\xfea", "undecodable_text"),
        ("my card".encode("utf-16-le"), "undecodable_text"),
        ("my card".encode("utf-32"), "undecodable_text"),
        (7, "undecodable_text"),
    ],
)
def test_what_cannot_be_read_says_why(text: TextSpec, content: object, code: str) -> None:
    with pytest.raises(UnreadableInput) as error:
        text.read(content, Caps(text_characters=100))
    assert error.value.code == code


@pytest.mark.parametrize("content", ["\u200b", "\ufffd\ufffd", "\x01", "\u00ad \u200d", "\u202e"])
def test_a_text_of_which_nothing_is_left_is_none(content: str) -> None:
    """By the published tokenizer, which leaves out more than white space."""
    folder = ZOO / "text-minilm"
    text = read_manifest(folder).input.located(folder)
    with pytest.raises(UnreadableInput, match="but those that the encoder leaves out") as error:
        text.read(content, Caps())
    assert error.value.code == "empty_text"
    assert text.read(f"{content}.", Caps())[:4].tolist() == [101, 1012, 102, 0]


@pytest.mark.parametrize(
    ("data", "modality"),
    [
        ("größe".encode(), "text"),
        ("größe".encode("utf-16"), "text"),
        ("größe".encode("utf-16-le"), "image"),
        ("<svg xmlns='…'>".encode("utf-16"), "image"),
        (b"\x89PNG\r\n\x1a\n\x00", "image"),
        (b"\x93NUMPY\x01\x00", "vector"),
        (b"", "image"),
    ],
)
def test_a_file_is_known_by_its_bytes(data: bytes, modality: str) -> None:
    assert modality_of(data) == modality


def test_a_portable_spec_brings_its_tokenizer(text: TextSpec) -> None:
    alone = TextSpec.model_validate_json(text.portable().model_dump_json())
    assert alone.folder is None
    assert (alone.read("my card", Caps()) == text.read("my card", Caps())).all()
    assert "folder" not in text.model_dump()


def test_an_embedding_does_not_depend_on_its_company(text: TextSpec, whole: Published) -> None:
    served = whole.served
    rows = text.examples(np.random.default_rng(1), np.arange(40) % 7)
    together = served.features(rows)
    assert together.shape == (40, 2, 64)
    np.testing.assert_allclose(together, whole.model.features(rows), atol=2e-6)
    for i in range(40):
        np.testing.assert_array_equal(served.features(rows[i : i + 1])[0], together[i])
    np.testing.assert_array_equal(served.features(rows[::-1])[::-1], together)


def test_a_text_without_class_name_has_a_name_of_zeros(text: TextSpec, whole: Published) -> None:
    row = text.read("my card", Caps())[None]
    assert not whole.served.features(row)[:, 1].any()
    assert not whole.model.features(row)[:, 1].any()


def test_eight_bit_weights_are_small_and_near(text: TextSpec, whole: Published, tmp_path: Path) -> None:
    _, small = published(text, tmp_path / "small", small_body=True)
    sizes = [(folder / "body.onnx").stat().st_size for folder in (whole.folder, tmp_path / "small")]
    assert sizes[1] < 0.6 * sizes[0]  # of a graph this small, half is no weights
    rows = text.examples(np.random.default_rng(2), np.arange(30) % 5)
    near = ServedModel(tmp_path / "small", small).features(rows)
    cosines = (near * whole.model.features(rows)).sum(-1)
    assert cosines.min() > 0.99
    one = ServedModel(tmp_path / "small", small).features(rows[3:4])
    np.testing.assert_array_equal(one[0], near[3])
    assert check_parity(whole.served, whole.model) < 1e-4


def test_a_published_folder_finds_its_own_tokenizer(whole: Published, tmp_path: Path) -> None:
    manifest = whole.manifest
    shutil.copytree(whole.folder, tmp_path / "published")
    figures = {"calibration": (), "benchmarks": ()}
    assert "tokenizer.json" in manifest.files
    with pytest.raises(Exception, match="without measured accuracy"):
        write_manifest(manifest.model_copy(update=figures), tmp_path / "published")
    (tmp_path / "published" / "manifest.json").write_text(manifest.model_dump_json())
    found = read_manifest(tmp_path / "published")
    assert isinstance(found.input, TextSpec)
    assert found.input.read("my card", Caps())[:4].tolist() == ids("my", "card")


class TestNames:
    """`Named`, on features made by hand."""

    algorithm = Named(Identity((8,)))
    params = algorithm.init()
    axes = functional.normalize(torch.eye(8)[:3] + 0.1, dim=-1)

    def weights(self, examples: torch.Tensor, names: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        features = torch.stack([examples, names], dim=1)
        return self.algorithm.adapt(self.params, features, labels, 3)["weights"]

    def noisy(self, n_shot: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(3).repeat_interleave(n_shot)
        noise = 0.3 * torch.randn(len(labels), 8, generator=generator)
        return functional.normalize(self.axes[labels] + noise, dim=-1), labels

    def test_a_name_pulls_its_prototype_and_fades_with_examples(self) -> None:
        pulls = []
        for n_shot in (1, 5, 25):
            examples, labels = self.noisy(n_shot)
            nameless = self.weights(examples, torch.zeros_like(examples), labels)
            named = self.weights(examples, self.axes[labels], labels)
            assert (
                functional.cosine_similarity(named, self.axes) > functional.cosine_similarity(nameless, self.axes)
            ).all()
            pulls.append(float((named - nameless).norm()))
        assert pulls[0] > 1.5 * pulls[1] > 3 * pulls[2]

    def test_names_of_other_classes_and_empty_names_say_nothing(self) -> None:
        examples, labels = self.noisy(3)
        nameless = self.weights(examples, torch.zeros_like(examples), labels)
        alone = self.algorithm.adapt(self.params, examples, labels, 3)["weights"]
        torch.testing.assert_close(nameless, alone)
        wrong = self.weights(examples, self.axes[(labels + 1) % 3], labels)
        torch.testing.assert_close(wrong, nameless, atol=0.02, rtol=0)

    def test_without_a_mix_it_is_a_prototypical_network(self) -> None:
        examples, labels = self.noisy(3)
        found = Named(Identity((8,)), mix=0.0).adapt(self.params, examples, labels, 3)["weights"]
        means = torch.stack([examples[labels == c].mean(0) for c in range(3)])
        torch.testing.assert_close(found, functional.normalize(means, dim=-1))

    def test_it_is_half_a_prototype_and_half_a_row_of_ridge_regression(self) -> None:
        """By the class's docstring, with classes of 1, 2 and 5 examples and names that are fully trusted."""
        examples, _ = self.noisy(3)
        examples, labels = examples[:8], torch.tensor([0, 1, 1, 2, 2, 2, 2, 2])
        params = {**self.params, "log_worth": torch.tensor(1.5).log(), "margin": torch.tensor(-9.0)}
        found = self.algorithm.adapt(params, torch.stack([examples, self.axes[labels]], 1), labels, 3)["weights"]
        counts = torch.tensor([[1.0], [2.0], [5.0]])
        members = functional.one_hot(labels).float()
        prototypes = functional.normalize(members.T @ examples + 1.5 * self.axes, dim=-1)
        rows, targets = torch.cat([examples, self.axes]), torch.cat([members, torch.eye(3)])
        weights = torch.cat([8 / (3 * counts[labels]), torch.full((3, 1), 1.5)])  # an example's 1 on average
        square = rows.T @ (weights * rows) + 0.3 * torch.eye(8)
        ridge = torch.linalg.solve(square, rows.T @ (weights * targets)).T
        torch.testing.assert_close(found, (prototypes + ridge) / 2, atol=1e-4, rtol=1e-4)

    def test_what_names_are_worth_is_learned(self) -> None:
        examples, labels = self.noisy(2)
        started = {**self.params, "margin": torch.tensor(0.6)}  # where some doubt is left
        params = {name: t.clone().requires_grad_() for name, t in started.items()}
        features = torch.stack([examples, self.axes[labels]], dim=1)
        adapted = self.algorithm.adapt(params, features, labels, 3)
        functional.cross_entropy(self.algorithm.head(params, adapted, examples), labels).backward()
        assert all(t.grad is not None and float(t.grad.abs().sum()) > 0 for t in params.values())

    def test_queries_are_compared_by_their_texts_alone(self) -> None:
        examples, labels = self.noisy(2)
        adapted = {"weights": self.weights(examples, self.axes[labels], labels)}
        with_names = torch.stack([examples, self.axes[labels.flip(0)]], dim=1)
        torch.testing.assert_close(
            self.algorithm.head(self.params, adapted, with_names),
            self.algorithm.head(self.params, adapted, examples),
        )


def test_meta_training_sees_hidden_and_wrong_names() -> None:
    rows = torch.arange(6 * 10).reshape(6, 10) + 1
    generator = torch.Generator().manual_seed(0)

    def kinds(**shares: float) -> set[str]:
        found = set()
        for _ in range(40):
            changed = change_names(rows, 2, 6, TextAugmentSpec(**shares), generator)
            assert (changed[:, :6] == rows[:, :6]).all()
            names = changed[:, 6:]
            right, absent = bool((names == rows[:, 6:]).all()), not bool(names.any())
            found.add("right" if right else "absent" if absent else "wrong")
            if not right and not absent:
                assert (names == rows[:, 6:].roll(2, 0)).all()
        return found

    assert kinds() == {"right"}
    assert kinds(hidden_names=0.5) == {"right", "absent"}
    assert kinds(hidden_names=0.3, wrong_names=0.3) == {"right", "absent", "wrong"}
