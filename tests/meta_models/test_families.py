"""What each paper claims of its own method, where the suite over all algorithms cannot see it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch.nn import functional

from meta_models.algorithms import Episode, InnerSettings, Tensors, meta_loss
from meta_models.algorithms.initialization import poured
from meta_models.algorithms.inner_loop import balanced_weights, inside
from meta_models.algorithms.mamlpp import MAMLPP
from meta_models.algorithms.protocol import Algorithm, with_backbone
from meta_models.calibrate import auroc
from meta_models.datasets import ClassPool
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.publish import export
from meta_models.torch_model import TorchModel, build_algorithm
from tests.meta_models.test_algorithms import BACKBONE, SHAPE, VARIANTS, a_recipe, a_training, adapt, episode, predict

CONV = "backbone.blocks.block2.conv.weight"


def build(options: str | dict[str, Any]) -> tuple[Any, Tensors]:
    """A variant of the suite, or an algorithm by its options, with meta_params from one seed."""
    torch.manual_seed(0)
    algorithm = build_algorithm(VARIANTS[options] if isinstance(options, str) else options, BACKBONE, SHAPE)
    return algorithm, algorithm.init()


def outer_gradient(algorithm: Algorithm, meta_params: Tensors, e: Episode, progress: float = 1.0) -> torch.Tensor:
    weight = meta_params[CONV].requires_grad_()
    loss, _ = meta_loss(algorithm, meta_params, e, training=False, progress=progress)
    (gradient,) = torch.autograd.grad(loss, weight)
    weight.requires_grad_(False)
    return gradient


@pytest.mark.parametrize("inner_scale", [None, 1.0])
@pytest.mark.parametrize("variant", ["meta-sgd", "meta-curvature", "maml++"])
def test_what_is_learned_of_steps_starts_as_maml(pool: ClassPool, variant: str, inner_scale: float | None) -> None:
    (maml, meta_params), (other, richer) = (
        build({**VARIANTS[one], "inner_scale": inner_scale}) for one in ("maml", variant)
    )
    e = episode(pool, [2] * 4)
    plain, learned = adapt(maml, meta_params, e), adapt(other, {**richer, **meta_params}, e)
    torch.testing.assert_close(learned["prototypes"], plain["prototypes"], atol=1e-3, rtol=1e-2)
    if variant != "maml++":  # which does not adapt normalisation
        torch.testing.assert_close(learned[CONV], plain[CONV])


def test_a_clients_step_size_scales_the_learned_ones(pool: ClassPool) -> None:
    """Each weight's step is as long as its α, and backwards where that is negative (Li et al. 2017, eq. 3)."""
    algorithm, meta_params = build("meta-sgd")
    e, alpha = episode(pool, [2] * 4), torch.randn_like(meta_params[CONV])
    learned = {**meta_params, f"alpha.{CONV}": alpha}
    plain, once, twice = (
        adapt(algorithm, params, e, InnerSettings(1, rate))[CONV] - meta_params[CONV]
        for params, rate in ((meta_params, 0.01), (learned, 0.01), (learned, 0.02))
    )
    torch.testing.assert_close(once, alpha * plain, atol=1e-6, rtol=1e-3)
    torch.testing.assert_close(twice, 2 * once, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("mode", ["out", "in", "filter"])
def test_curvature_mixes_each_mode_of_a_gradient(pool: ClassPool, mode: str) -> None:
    """Park & Oliva 2019, eq. 7-9, with a matrix that is not its own transpose."""
    algorithm, meta_params = build("meta-curvature")
    e, one = episode(pool, [2] * 4), InnerSettings(1, 0.01)
    plain = adapt(algorithm, meta_params, e, one)[CONV] - meta_params[CONV]
    matrix = torch.randn_like(meta_params[f"curvature.{CONV}.{mode}"])
    moved = adapt(algorithm, {**meta_params, f"curvature.{CONV}.{mode}": matrix}, e, one)[CONV] - meta_params[CONV]
    product = {"out": "ij,jcf->icf", "in": "ij,ojf->oif", "filter": "ij,ocj->oci"}[mode]
    expected = torch.einsum(product, matrix, plain.flatten(2)).view_as(plain)
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("inner_scale", [None, 2.0])
def test_one_step_of_reptile_is_joint_training(inner_scale: float | None, pool: ClassPool) -> None:
    """Nichol et al. 2018, section 5: with one step the outer gradient is the loss's own, at the inner loop's scale."""
    algorithm, meta_params = build(
        {"name": "reptile", "inner_scale": inner_scale, "inner": {"inner_steps": 1, "inner_lr": 0.01}}
    )
    e = episode(pool, [2] * 4)
    start = adapt(algorithm, meta_params, e, InnerSettings(0, 0.0))
    weight = start[CONV] = meta_params[CONV].clone().requires_grad_()
    labels = torch.cat([e.support_labels, e.query_labels])
    logits = algorithm.head(inside(meta_params), start, torch.cat([e.support_inputs, e.query_inputs]))
    loss = (balanced_weights(labels, 4) * functional.cross_entropy(logits, labels, reduction="none")).sum()
    (expected,) = torch.autograd.grad(loss, weight)
    torch.testing.assert_close(outer_gradient(algorithm, meta_params, e), expected, atol=1e-4, rtol=1e-3)


def test_reptile_goes_to_where_steps_on_minibatches_lead(pool: ClassPool) -> None:
    """Algorithm 1 of Nichol et al. 2018 by hand: (θ - φ) / (inner_lr · steps), φ after one step on each third."""
    algorithm, meta_params = build("reptile")
    e = episode(pool, [2] * 4)
    inputs, labels = poured(e)
    start = adapt(algorithm, meta_params, e, InnerSettings(0, 0.0))
    fast = {name: t.clone() for name, t in start.items()}
    for first in range(3):
        fast = {name: t.detach().requires_grad_() for name, t in fast.items()}
        x, y = inputs[first::3], labels[first::3]
        losses = functional.cross_entropy(algorithm.head(meta_params, fast, x), y, reduction="none")
        gradients = torch.autograd.grad((balanced_weights(y, 4) * losses).sum(), list(fast.values()))
        fast = {name: fast[name] - 0.01 * g for name, g in zip(fast, gradients, strict=True)}
    expected = (start[CONV] - fast[CONV].detach()) / (0.01 * 3)
    torch.testing.assert_close(outer_gradient(algorithm, meta_params, e), expected, atol=1e-4, rtol=1e-3)


def test_mamlpp_takes_no_more_steps_than_it_learned(pool: ClassPool, tmp_path: Path) -> None:
    algorithm, meta_params = build("maml++")
    with pytest.raises(ValueError, match="learned 5"):
        adapt(algorithm, meta_params, episode(pool, [2] * 4), InnerSettings(6, 0.01))
    manifest = export(TorchModel(algorithm, meta_params), a_recipe(VARIANTS["maml++"]), a_training(), tmp_path / "x")
    assert manifest.inner_loop is not None
    assert manifest.inner_loop.max_inner_steps == 5


def test_mamlpp_anneals_from_first_derivatives_and_all_steps(pool: ClassPool) -> None:
    """Late in training its outer gradient is MAML++'s own; early it is first order over every step's loss."""
    algorithm, meta_params = build("maml++")
    first, _ = build({**VARIANTS["maml++"], "first_order": True})
    e = episode(pool, [2] * 4)
    early = outer_gradient(algorithm, meta_params, e, progress=0.0)
    torch.testing.assert_close(early, outer_gradient(first, meta_params, e, progress=0.0))
    late, late_first = outer_gradient(algorithm, meta_params, e), outer_gradient(first, meta_params, e)
    assert not torch.allclose(late, late_first, rtol=1e-3)
    assert not torch.allclose(early, late_first, rtol=1e-3)


def test_each_step_of_mamlpp_has_step_sizes_and_a_normalisation_of_its_own(pool: ClassPool) -> None:
    """LSLR, BNRS and BNWB: Antoniou et al. 2019, section 4."""
    algorithm, meta_params = build("maml++")
    e, bias = episode(pool, [2] * 4), "blocks.block1.norm.bias"
    plain = [adapt(algorithm, meta_params, e, InnerSettings(n, 0.01)) for n in range(4)]

    still = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0])
    halting = {n: t * still if n.startswith("rate.") else t for n, t in meta_params.items()}
    torch.testing.assert_close(adapt(algorithm, halting, e, InnerSettings(2, 0.01)), plain[1])

    moved = {**meta_params, f"step.{bias}": meta_params[f"step.{bias}"].clone()}
    moved[f"step.{bias}"][2] += 1.0
    none, one, two, three = (adapt(algorithm, moved, e, InnerSettings(n, 0.01)) for n in range(4))
    torch.testing.assert_close((none, one), (plain[0], plain[1]))
    shifted = {**plain[2], f"backbone.{bias}": plain[2][f"backbone.{bias}"] + 1}  # the answers alone
    torch.testing.assert_close(two, shifted)
    torch.testing.assert_close(three[f"backbone.{bias}"], plain[3][f"backbone.{bias}"])
    assert not torch.allclose(three["prototypes"], plain[3]["prototypes"], atol=1e-4)  # the gradient of the third step


@pytest.mark.parametrize(("progress", "importance"), [(0.0, (2, 2, 2)), (0.15, (1, 1, 4)), (0.3, (0, 0, 6))])
def test_mamlpp_leaves_the_query_losses_of_early_steps_behind(
    pool: ClassPool, progress: float, importance: tuple[int, int, int]
) -> None:
    """MSL: all steps alike, then the last one more and more (Antoniou et al. 2019, section 4)."""
    algorithm, meta_params = build("maml++")
    e = episode(pool, [2] * 4)
    fast = (adapt(algorithm, meta_params, e, InnerSettings(taken, 0.01)) for taken in (1, 2, 3))
    losses = [
        functional.cross_entropy(predict(algorithm, meta_params, f, e.query_inputs), e.query_labels) for f in fast
    ]
    loss, _ = meta_loss(algorithm, meta_params, e, training=False, progress=progress)
    expected = sum(share * one for share, one in zip(importance, losses, strict=True)) / 6
    torch.testing.assert_close(loss.detach(), expected)


def test_mamlpp_gathers_statistics_in_training_only(pool: ClassPool) -> None:
    algorithm, meta_params = build("maml++")
    name = "step.blocks.block1.norm.running_mean"
    e = episode(pool, [2] * 4)
    meta_loss(cast(MAMLPP, algorithm), meta_params, e, training=False)
    assert not meta_params[name].any()
    meta_loss(algorithm, meta_params, e, training=True)
    rows = meta_params[name].abs().sum(1) > 0
    assert rows.tolist() == [True] * 4 + [False] * 2  # after 0 to 3 of at most 5 steps


def test_a_shared_row_is_told_apart_by_one_step(pool: ClassPool) -> None:
    algorithm, meta_params = build("maml-shared-row")
    e = episode(pool, [3] * 5)
    none, one = (adapt(algorithm, meta_params, e, InnerSettings(n, 0.01))["prototypes"] for n in (0, 1))
    assert none.std(0).max() == 0
    assert one.std(0).max() > 0


def test_the_lstm_can_be_gradient_descent(pool: ClassPool) -> None:
    (anil, plain), (learned, meta_params) = build("anil"), build("lstm-optimizer")
    meta_params = {**meta_params, **plain, "gates.weight": torch.zeros(2, 23), "gates.bias": torch.tensor([50.0, 0.0])}
    e = episode(pool, [3] * 4)
    torch.testing.assert_close(adapt(learned, meta_params, e), adapt(anil, plain, e))


def test_the_lstm_reads_each_coordinate_as_its_papers_say(pool: ClassPool) -> None:
    """Two steps by torch's own cell: gradient and loss go in as logarithm and sign (Andrychowicz et al. 2016, appendix
    A), the gates see its output, the weight and themselves a step earlier (Ravi & Larochelle 2017, eq. 3-5)."""
    learned, meta_params = build("lstm-optimizer")
    cell, gates = torch.nn.LSTMCell(4, 20), torch.nn.Linear(23, 2)
    cell.load_state_dict(
        {
            "weight_ih": meta_params["lstm.input"],
            "weight_hh": meta_params["lstm.recurrent"],
            "bias_ih": meta_params["lstm.bias"],
            "bias_hh": torch.zeros(80),
        }
    )
    torch.nn.init.normal_(gates.weight)
    meta_params = {**meta_params, "gates.weight": gates.weight, "gates.bias": gates.bias}
    update, state = learned._update(meta_params, InnerSettings(2, 0.1)), None

    def seen(value: float) -> list[float]:
        return (
            [math.log(abs(value)) / 10, math.copysign(1, value)]
            if abs(value) >= math.exp(-10)
            else [-1, math.exp(10) * value]
        )

    w = torch.tensor([0.3, -0.7, 1.1])
    expected, hidden, before = w, (torch.zeros(3, 20), torch.zeros(3, 20)), torch.zeros(3, 2)
    for loss, gradient in ((1.5, [0.05, -3.0, 1e-5]), (0.9, [-1e-6, 0.0, 2.0])):
        moved, state = update({"w": w}, {"w": torch.tensor(gradient)}, torch.tensor(loss), state)
        hidden = cell(torch.tensor([[*seen(g), *seen(loss)] for g in gradient]), hidden)
        keep, write = gates(torch.cat([hidden[0], expected[:, None], before], dim=1)).sigmoid().unbind(1)
        before = torch.stack([keep, 2 * write], dim=1)
        expected, w = keep * expected - 0.1 * 2 * write * torch.tensor(gradient), moved["w"]
        torch.testing.assert_close(w, expected)


def test_views_are_weighted_means_of_what_their_maps_show(pool: ClassPool) -> None:
    """One view of itself, one turned by a quarter, weighing 1 : 3."""
    algorithm, meta_params = build("views")
    inputs = episode(pool, [2] * 3).query_inputs
    quarter = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    maps = torch.stack([torch.eye(2, 3), quarter, quarter])
    weighted = {**meta_params, "views.maps": maps, "views.log_weights": torch.tensor([1.0, 3.0, 0.0]).log()}
    upright, turned = (
        functional.normalize(with_backbone(algorithm.backbone, meta_params, seen), dim=-1)
        for seen in (inputs, inputs.rot90(-1, (2, 3)))
    )
    torch.testing.assert_close(algorithm.body(weighted, inputs), (upright + 3 * turned) / 4, atol=1e-4, rtol=1e-3)


def test_cnaps_starts_near_prototypes_and_reads_the_support_set(pool: ClassPool) -> None:
    (cnaps, meta_params), (protonet, _) = build("cnaps"), build("protonet-cosine")
    rows = [adapt(cnaps, meta_params, episode(pool, counts)) for counts in ([3] * 4, [1] * 5)]
    prototypes = adapt(protonet, meta_params, episode(pool, [3] * 4))["prototypes"]
    torch.testing.assert_close(rows[0]["rows"], functional.normalize(prototypes, dim=-1), atol=0.05, rtol=0)
    norm = "backbone.blocks.block1.norm.weight"
    assert not torch.equal(rows[0][norm], rows[1][norm])


def test_no_class_counts_by_its_size_in_what_cnaps_reads(pool: ClassPool) -> None:
    algorithm, meta_params = build("cnaps")
    loud = {n: 1000 * t if n.startswith("film.") and n.endswith("weight") else t for n, t in meta_params.items()}
    one, other = episode(pool, [1, 1]).support_inputs.split(1)
    even, uneven = (
        algorithm.adapt(loud, torch.cat([one, *[other] * n]), torch.tensor([0, *[1] * n]), 2) for n in (1, 4)
    )
    norm = "backbone.blocks.block1.norm.weight"
    assert (even[norm] - meta_params[norm]).abs().max() > 1e-3
    torch.testing.assert_close(uneven, even, atol=1e-4, rtol=1e-4)


def test_reweighting_learns_to_see_wrong_labels(pool: ClassPool) -> None:
    algorithm, meta_params = build("reweight")
    inputs = torch.from_numpy(pool.inputs).float() / 255
    trained = [t.requires_grad_() for n, t in meta_params.items() if "running" not in n]
    optimizer = torch.optim.Adam(trained, lr=5e-3)
    for number in range(60):
        rows = sample_episode(pool, EpisodeSpec(6, 5, 4, label_noise=(0.2, 0.4)), 0, number)
        support, query = (inputs[torch.from_numpy(r.ravel())] for r in (rows.support, rows.query))
        labels = torch.from_numpy(rows.support_labels.ravel())
        loss, _ = meta_loss(
            algorithm,
            meta_params,
            Episode(support, labels, query, torch.arange(6).repeat_interleave(4), 6),
            training=True,
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right: list[torch.Tensor] = []
    wrong: list[torch.Tensor] = []
    with torch.no_grad():
        for number in range(20):
            rows = sample_episode(pool, EpisodeSpec(6, 5, 1, label_noise=(0.3, 0.3)), 1, number)
            labels = torch.from_numpy(rows.support_labels.ravel())
            features = algorithm.body(meta_params, inputs[torch.from_numpy(rows.support.ravel())])
            weights = algorithm.adapt(meta_params, features, labels, 6)["example_weights"]
            misled = labels != torch.arange(6).repeat_interleave(5)
            right.append(weights[~misled])
            wrong.append(weights[misled])
    assert auroc(torch.cat(right).numpy(), torch.cat(wrong).numpy()) > 0.9


def test_weights_of_examples_average_to_one(pool: ClassPool) -> None:
    algorithm, meta_params = build("reweight")
    e = episode(pool, [1, 4, 7])
    adapted = adapt(algorithm, meta_params, e, InnerSettings(0, 0.1))
    weights = adapted["example_weights"]
    directions = functional.normalize(algorithm.body(meta_params, e.support_inputs), dim=-1)
    means = torch.stack([part.sum(0) for part in (weights[:, None] * directions).split([1, 4, 7])])
    torch.testing.assert_close(adapted["prototypes"], functional.normalize(means, dim=-1))
    torch.testing.assert_close(torch.stack([part.mean() for part in weights.split([1, 4, 7])]), torch.ones(3))


def test_pretraining_says_what_it_lacks(pool: ClassPool) -> None:
    algorithm, meta_params = build({"name": "pretrain", "n_classes": 3})
    e = episode(pool, [1] * 4)
    with pytest.raises(ValueError, match="class 3 in a classifier of n_classes = 3"):
        meta_loss(algorithm, meta_params, e, training=True)
    nameless = Episode(e.support_inputs, e.support_labels, e.query_inputs, e.query_labels, e.n_way)
    with pytest.raises(ValueError, match="which classes"):
        meta_loss(algorithm, meta_params, nameless, training=True)


@pytest.mark.parametrize("n_views", [2, 3])
def test_contrast_of_views_is_nt_xent(pool: ClassPool, n_views: int) -> None:
    """Chen et al. 2020, eq. 1, the mean over the other views of an image; and how often the nearest is one of them."""
    algorithm, meta_params = build("contrastive")
    e = episode(pool, [1] * 6, n_query=n_views - 1)
    loss, accuracy = meta_loss(algorithm, meta_params, e, training=False)
    inputs, _ = poured(e)
    features = with_backbone(algorithm.backbone, meta_params, inputs)
    hidden = torch.relu(features @ meta_params["outer.first"].T + meta_params["outer.first_bias"])
    z = functional.normalize(hidden @ meta_params["outer.last"].T, dim=-1)
    others = (10 * z @ z.T).fill_diagonal_(float("-inf"))
    labels = torch.cat([e.support_labels, e.query_labels])
    theirs = [(labels == labels[i]).nonzero()[:, 0] for i in range(len(labels))]
    losses = [-others.log_softmax(1)[i, of[of != i]].mean() for i, of in enumerate(theirs)]
    torch.testing.assert_close(loss, torch.stack(losses).mean())
    assert float(accuracy) == pytest.approx(float((labels[others.argmax(1)] == labels).float().mean()))


@pytest.mark.parametrize("variant", ["pretrain-head", "contrastive"])
def test_what_only_the_outer_loop_needs_stays_behind(variant: str, tmp_path: Path) -> None:
    algorithm, meta_params = build(variant)
    manifest = export(TorchModel(algorithm, meta_params), a_recipe(VARIANTS[variant]), a_training(), tmp_path / "x")
    published = TorchModel.load(tmp_path / "x", manifest).meta_params
    assert {name for name in meta_params if name not in published} == {n for n in meta_params if n.startswith("outer.")}


def test_axes_that_follow_the_support_set_are_named(tmp_path: Path) -> None:
    algorithm, meta_params = build("matching")
    manifest = export(TorchModel(algorithm, meta_params), a_recipe(VARIANTS["matching"]), a_training(), tmp_path / "x")
    assert manifest.adapted_tensors == {
        "embeddings": ("n_support", 16),
        "labels": ("n_support",),
        "class_sizes": ("n_way",),
    }
