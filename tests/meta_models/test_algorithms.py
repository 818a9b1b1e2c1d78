"""One suite over the registry: what every algorithm promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from meta_models.algorithms import ALGORITHMS, Episode, InnerSettings, Tensors, meta_loss
from meta_models.algorithms.protocol import Algorithm, SeesViews
from meta_models.datasets import ClassPool
from meta_models.inputs import DrawingSpec, VectorSpec
from meta_models.manifest import Training
from meta_models.publish import check_parity, export
from meta_models.recipe import Data, Outer, Recipe
from meta_models.serving import ServedModel
from meta_models.torch_model import TorchModel, as_floats, build_algorithm

SHAPE = (1, 28, 28)
BACKBONE = {"name": "conv4", "width": 16}
OTHER_BACKBONES: dict[str, dict[str, Any]] = {
    "relation": {**BACKBONE, "n_pooled": 2},
    "standardized": {"name": "identity"},
}
"""By algorithm, of those that want another."""

ON_VECTORS = {"standardized"}
"""Algorithms whose inputs are vectors; they have no backbone."""

OF_CLASS_NAMES = {"log_worth", "margin", "log_width"}
"""What learns from class names, which pictures lack; tests/meta_models/test_text.py has some."""

VARIANTS: dict[str, dict[str, Any]] = {
    "protonet-cosine": {"name": "protonet", "metric": "cosine"},
    "protonet-mirror": {"name": "protonet", "mirror": True},
    "protonet-centred": {"name": "protonet", "mirror": True, "centred": True},
    "protonet-tangents": {"name": "protonet", "tangents": True},
    "protonet-euclidean": {"name": "protonet", "metric": "euclidean"},
    "maml": {"name": "maml", "inner": {"inner_steps": 3, "inner_lr": 0.01}},
    "maml-inner-scale": {"name": "maml", "inner_scale": 5.0, "inner": {"inner_steps": 3, "inner_lr": 0.01}},
    "maml-first-order": {"name": "maml", "first_order": True, "inner": {"inner_steps": 3, "inner_lr": 0.01}},
    "maml-shared-row": {"name": "maml", "start": "shared", "inner": {"inner_steps": 3, "inner_lr": 0.01}},
    "reptile": {"name": "reptile", "inner": {"inner_steps": 3, "inner_lr": 0.01}},
    "meta-sgd": {"name": "meta_sgd", "inner": {"inner_steps": 3, "inner_lr": 0.01}},
    "meta-curvature": {"name": "meta_curvature", "inner": {"inner_steps": 3, "inner_lr": 0.01}},
    "maml++": {"name": "mamlpp", "inner": {"inner_steps": 3, "inner_lr": 0.01}},
    "anil": {"name": "anil"},
    "lstm-optimizer": {"name": "lstm_optimizer"},
    "reweight": {"name": "reweight"},
    "matching": {"name": "matching"},
    "relation": {"name": "relation", "filters": 16},
    "ridge": {"name": "ridge"},
    "cnaps": {"name": "cnaps"},
    "pretrain-head": {"name": "pretrain", "n_classes": 24},
    "pretrain-all": {
        "name": "pretrain",
        "n_classes": 24,
        "adapts": "all",
        "inner": {"inner_steps": 3, "inner_lr": 0.01},
    },
    "committee": {"name": "committee", "members": 2},
    "committee-context": {"name": "committee", "members": 2, "context": True, "roots": True},
    "committee-hubs": {"name": "committee", "members": 2, "hubs": True},
    "committee-tangents": {"name": "committee", "members": 2, "hubs": True, "tangents": True},
    "contrastive": {"name": "contrastive"},
    "vector-prototype": {"name": "standardized"},
    "vector-ridge": {"name": "standardized", "head_name": "ridge"},
    "vector-gradient": {
        "name": "standardized",
        "head_name": "gradient",
        "inner": {"inner_steps": 3, "inner_lr": 0.01},
    },
    "views": {"name": "views", "n_views": 3},
    "named": {"name": "named"},
}


@pytest.fixture(params=sorted(VARIANTS))
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return VARIANTS[request.param]


@pytest.fixture
def algorithm(options: dict[str, Any]) -> Algorithm:
    torch.manual_seed(0)
    recipe = a_recipe(options)
    return build_algorithm(recipe.algorithm, recipe.backbone, recipe.input.shape)


@pytest.fixture
def pool(pool: ClassPool, request: pytest.FixtureRequest) -> ClassPool:
    """The sketches; for algorithms on vectors as 49 means of 4×4 pixels, in units of their own."""
    options = request.getfixturevalue("options") if "options" in request.fixturenames else {}
    if options.get("name") not in ON_VECTORS:
        return pool
    means = pool.inputs.reshape(-1, 7, 4, 7, 4).mean((2, 4)).reshape(-1, 49)
    vectors = (means * np.exp(np.random.default_rng(0).normal(size=49))).astype(np.float32)
    return replace(pool, inputs=vectors)


@pytest.fixture
def meta_params(algorithm: Algorithm) -> Tensors:
    return algorithm.init()


def episode(pool: ClassPool, counts: list[int], n_query: int = 3) -> Episode:
    """Support sets of `counts` examples a class."""
    support = np.concatenate([pool.class_examples[c][:n] for c, n in enumerate(counts)])
    query = np.concatenate([pool.class_examples[c][-n_query:] for c in range(len(counts))])
    inputs = as_floats(torch.from_numpy(pool.inputs))
    classes = torch.arange(len(counts))
    return Episode(
        inputs[support],
        classes.repeat_interleave(torch.tensor(counts)),
        inputs[query],
        classes.repeat_interleave(n_query),
        len(counts),
        classes,
    )


def adapt(algorithm: Algorithm, meta_params: Tensors, e: Episode, inner: InnerSettings | None = None) -> Tensors:
    features = algorithm.body(meta_params, e.support_inputs)
    if isinstance(algorithm, SeesViews) and algorithm.n_support_views:
        views = algorithm.support_views(e.support_inputs).flatten(0, 1)
        of_views = algorithm.body(meta_params, views).unflatten(0, (len(features), -1))
        features = torch.cat([features[:, None], of_views], 1)
    return algorithm.adapt(meta_params, features, e.support_labels, e.n_way, inner=inner)


def predict(algorithm: Algorithm, meta_params: Tensors, adapted: Tensors, inputs: torch.Tensor) -> torch.Tensor:
    return algorithm.head(meta_params, adapted, algorithm.body(meta_params, inputs))


def outer_steps(algorithm: Algorithm, meta_params: Tensors, e: Episode, steps: int) -> list[float]:
    """Meta-train on one episode, in place; the losses."""
    trained = [t.requires_grad_() for n, t in meta_params.items() if "running" not in n]
    optimizer = torch.optim.Adam(trained, lr=2e-3)
    losses: list[float] = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss, _ = meta_loss(algorithm, meta_params, e, training=True)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    for t in trained:
        t.requires_grad_(False)
    return losses


def test_every_registered_algorithm_is_in_the_suite() -> None:
    assert {v["name"] for v in VARIANTS.values()} == set(ALGORITHMS)


@pytest.mark.parametrize("counts", [[1, 1], [1, 7], [5] * 5, [1] * 24, [12, 1, 3]], ids=str)
def test_any_way_any_shot(algorithm: Algorithm, meta_params: Tensors, pool: ClassPool, counts: list[int]) -> None:
    e = episode(pool, counts)
    logits = predict(algorithm, meta_params, adapt(algorithm, meta_params, e), e.query_inputs)
    assert logits.shape == (len(e.query_labels), len(counts))
    assert logits.isfinite().all()


def test_adapting_beats_chance_on_easy_classes(algorithm: Algorithm, meta_params: Tensors, pool: ClassPool) -> None:
    if algorithm.name == "relation":  # whose comparison is nothing but what it learned
        outer_steps(algorithm, meta_params, episode(pool, [1] * 16), 40)
    e = episode(pool, [5] * 5)
    logits = predict(algorithm, meta_params, adapt(algorithm, meta_params, e), e.query_inputs)
    assert (logits.argmax(1) == e.query_labels).float().mean() > 0.6  # chance is 0.2, the network is untrained


def test_inner_steps_lower_support_loss(algorithm: Algorithm, meta_params: Tensors, pool: ClassPool) -> None:
    if algorithm.inner is None:
        pytest.skip("takes no steps")
    e = episode(pool, [5] * 5)
    losses: list[float] = []
    features = algorithm.body(meta_params, e.support_inputs)
    settings = InnerSettings(5, 0.01)
    algorithm.adapt(
        meta_params, features, e.support_labels, e.n_way, inner=settings, on_step=lambda _, loss: losses.append(loss)
    )
    assert len(losses) == 5
    assert losses[-1] < losses[0]


def test_adapting_leaves_meta_params_untouched(algorithm: Algorithm, meta_params: Tensors, pool: ClassPool) -> None:
    before = {name: t.clone() for name, t in meta_params.items()}
    adapt(algorithm, meta_params, episode(pool, [3] * 4))
    assert before.keys() == meta_params.keys()
    assert all(torch.equal(before[name], t) for name, t in meta_params.items())


def test_outer_gradients_reach_every_trained_tensor(
    algorithm: Algorithm, meta_params: Tensors, pool: ClassPool
) -> None:
    trained = {n: t.requires_grad_() for n, t in meta_params.items() if "running" not in n}
    loss, _ = meta_loss(algorithm, meta_params, episode(pool, [2] * 4), training=True)
    loss.backward()
    silent = {name for name, t in trained.items() if t.grad is None or not t.grad.abs().sum() > 0}
    assert silent == OF_CLASS_NAMES & trained.keys()


def test_an_outer_step_lowers_query_loss(algorithm: Algorithm, meta_params: Tensors, pool: ClassPool) -> None:
    losses = outer_steps(algorithm, meta_params, episode(pool, [1] * 16), 8)
    assert min(losses[-3:]) < losses[0]


# Steps on one example a class make more of rounding.
@pytest.mark.parametrize(("counts", "atol"), [([3, 1, 2, 4], 2e-4), ([1] * 4, 2e-3)], ids=str)
def test_class_permutation_permutes_logits(
    algorithm: Algorithm, meta_params: Tensors, pool: ClassPool, counts: list[int], atol: float
) -> None:
    e = episode(pool, counts)
    order = torch.tensor([2, 0, 3, 1])
    renamed = Episode(e.support_inputs, order[e.support_labels], e.query_inputs, order[e.query_labels], e.n_way)
    plain = predict(algorithm, meta_params, adapt(algorithm, meta_params, e), e.query_inputs)
    permuted = predict(algorithm, meta_params, adapt(algorithm, meta_params, renamed), e.query_inputs)
    torch.testing.assert_close(permuted[:, order], plain, atol=atol, rtol=1e-4)


def test_a_query_does_not_see_its_batch(algorithm: Algorithm, meta_params: Tensors, pool: ClassPool) -> None:
    e = episode(pool, [3] * 4)
    adapted = adapt(algorithm, meta_params, e)
    together = predict(algorithm, meta_params, adapted, e.query_inputs)
    alone = torch.cat([predict(algorithm, meta_params, adapted, q[None]) for q in e.query_inputs])
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-4)


def test_served_graphs_equal_torch(options: dict[str, Any], algorithm: Algorithm, tmp_path: Path) -> None:
    recipe = a_recipe(options)
    model = TorchModel(algorithm, algorithm.init())
    manifest = export(model, recipe, a_training(), tmp_path / "published")
    worst = check_parity(ServedModel(tmp_path / "published", manifest), model)
    assert worst < 1e-4


def test_second_order_differs_from_first(pool: ClassPool) -> None:
    gradients: list[torch.Tensor] = []
    for first_order in (False, True):
        torch.manual_seed(0)
        algorithm = build_algorithm({**VARIANTS["maml"], "first_order": first_order}, BACKBONE, SHAPE)
        meta_params = algorithm.init()
        weight = meta_params["backbone.blocks.block1.conv.weight"].requires_grad_()
        loss, _ = meta_loss(algorithm, meta_params, episode(pool, [2] * 4), training=True)
        gradients += torch.autograd.grad(loss, weight)
    assert not torch.allclose(gradients[0], gradients[1], rtol=1e-3)


def test_zero_steps_of_maml_are_a_prototypical_network(pool: ClassPool) -> None:
    torch.manual_seed(0)
    maml = build_algorithm(VARIANTS["maml"], BACKBONE, SHAPE)
    protonet = build_algorithm(VARIANTS["protonet-cosine"], BACKBONE, SHAPE)
    meta_params, e = maml.init(), episode(pool, [3] * 5)
    zero = adapt(maml, meta_params, e, InnerSettings(0, 0.1))
    prototypes = adapt(protonet, meta_params, e)
    torch.testing.assert_close(
        predict(maml, meta_params, zero, e.query_inputs), predict(protonet, meta_params, prototypes, e.query_inputs)
    )


def test_a_mirrored_feature_is_the_mean_of_both_sides(pool: ClassPool) -> None:
    """Once the backbone is trained, not before."""
    torch.manual_seed(0)
    plain, mirrored = (build_algorithm(VARIANTS[f"protonet-{one}"], BACKBONE, SHAPE) for one in ("cosine", "mirror"))
    meta_params, inputs = plain.init(), episode(pool, [2] * 3).query_inputs
    sides = [functional.normalize(plain.body(meta_params, x), dim=-1) for x in (inputs, inputs.flip(3))]
    torch.testing.assert_close(mirrored.body(meta_params, inputs), (sides[0] + sides[1]) / 2)
    trained = [
        one.body({n: t.clone() for n, t in meta_params.items()}, inputs, training=True) for one in (plain, mirrored)
    ]
    torch.testing.assert_close(trained[1], trained[0])


def test_euclidean_logits_are_minus_squared_distances(pool: ClassPool) -> None:
    torch.manual_seed(0)
    algorithm = build_algorithm(VARIANTS["protonet-euclidean"], BACKBONE, SHAPE)
    meta_params, e = algorithm.init(), episode(pool, [3] * 4)
    adapted = adapt(algorithm, meta_params, e)
    query = algorithm.body(meta_params, e.query_inputs)
    expected = -(torch.cdist(query, adapted["prototypes"]) ** 2)
    torch.testing.assert_close(algorithm.head(meta_params, adapted, query), expected, atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("n_pooled", [2, 4])
def test_relations_are_those_of_concatenated_maps(pool: ClassPool, n_pooled: int) -> None:
    """Sung et al. (2018, eq. 1 and figure 2), pair by pair; vectors are maps of one position."""
    torch.manual_seed(0)
    algorithm = build_algorithm(VARIANTS["relation"], {**BACKBONE, "n_pooled": n_pooled}, SHAPE)
    meta_params, e = algorithm.init(), episode(pool, [1, 2, 1, 2])
    support, query = (algorithm.body(meta_params, inputs) for inputs in (e.support_inputs, e.query_inputs))
    assert support.shape[1:] == ((16, 7, 7) if n_pooled == 2 else (16, 1, 1))
    relation = {name.removeprefix("relation."): t for name, t in meta_params.items() if name.startswith("relation.")}
    first = torch.cat([relation["class"], relation["query"]], dim=1)
    expected = torch.empty(len(query), 4)
    for i, one in enumerate(query):
        for c in range(4):
            pair = torch.cat([support[e.support_labels == c].mean(0), one])[None]
            maps = torch.relu(functional.conv2d(pair, first, relation["bias"], padding="same"))
            maps = functional.max_pool2d(maps, 3, 2) if n_pooled == 2 else maps
            maps = torch.relu(functional.conv2d(maps, relation["second"], relation["second_bias"], padding="same"))
            hidden = torch.relu(functional.linear(maps.flatten(1), relation["third"], relation["third_bias"]))
            expected[i, c] = (hidden @ relation["last"].T).squeeze()
    found = predict(algorithm, meta_params, adapt(algorithm, meta_params, e), e.query_inputs)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("n_shot", [1, 5])
def test_gpu_agrees_with_cpu(algorithm: Algorithm, meta_params: Tensors, pool: ClassPool, n_shot: int) -> None:
    """Promise 2 across devices: probabilities within 1e-3."""
    e = episode(pool, [n_shot] * 5)
    here = predict(algorithm, meta_params, adapt(algorithm, meta_params, e), e.query_inputs)
    algorithm.backbone.cuda()
    there_params = {name: t.cuda() for name, t in meta_params.items()}
    moved = Episode(e.support_inputs.cuda(), e.support_labels.cuda(), e.query_inputs.cuda(), e.query_labels, e.n_way)
    there = predict(algorithm, there_params, adapt(algorithm, there_params, moved), moved.query_inputs).cpu()
    torch.testing.assert_close(functional.softmax(there, 1), functional.softmax(here, 1), atol=1e-3, rtol=0)


def a_recipe(options: dict[str, Any], name: str = "sketches") -> Recipe:
    on_vectors = options["name"] in ON_VECTORS
    return Recipe(
        name=name,
        description="sketches of the tests",
        algorithm=options,
        backbone=OTHER_BACKBONES.get(options["name"], BACKBONE),
        input=VectorSpec() if on_vectors else DrawingSpec(size=SHAPE[1]),
        data=Data(split="background"),
        episodes={"n_way": 5, "n_shot": 1, "n_query": 3},
        outer=Outer(steps=6, precision="float32"),
    )


def a_training() -> Training:
    return Training(recipe="tests", data="sketches", licence="MIT", source="tests", steps=0, minutes=0, hardware="CPU")
