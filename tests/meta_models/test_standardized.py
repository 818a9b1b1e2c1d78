"""Standardising by the support set: units, constants and wild values do no harm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import polygamma
from torch.nn import functional

from meta_models.algorithms import InnerSettings
from meta_models.algorithms.standardized import Standardized, standardize, statistics, trigamma
from meta_models.backbones.identity import Identity

BACKBONE = Identity(("n_dimensions",))
HEADS = [
    Standardized(BACKBONE, "prototype"),
    Standardized(BACKBONE, "ridge"),
    Standardized(BACKBONE, "gradient", InnerSettings(5, 0.05)),
]


def draw(n_way: int, n_shot: int, n_dimensions: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Support vectors, their labels, and a query for each class."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_way, n_dimensions))
    support = centres.repeat(n_shot, 0) + 0.5 * rng.normal(size=(n_way * n_shot, n_dimensions))
    queries = centres + 0.5 * rng.normal(size=centres.shape)
    labels = torch.arange(n_way).repeat_interleave(n_shot)
    return torch.tensor(support, dtype=torch.float32), labels, torch.tensor(queries, dtype=torch.float32)


def logits(algorithm: Standardized, support: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    meta_params = algorithm.init()
    return algorithm.head(meta_params, algorithm.adapt(meta_params, support, labels, int(labels.max()) + 1), queries)


def test_trigamma() -> None:
    x = np.linspace(0.5, 50, 200)
    np.testing.assert_allclose(trigamma(torch.tensor(x)).numpy(), polygamma(1, x), rtol=0.01)


def test_two_examples_get_one_scale_and_many_get_their_own() -> None:
    rng = np.random.default_rng(0)
    like = torch.tensor(rng.normal(size=(2, 384)))
    _, scale, _ = statistics(like, torch.tensor([0, 1]), 2)
    assert float(scale.max() / scale.min()) < 1.5
    units = torch.tensor([0.001, 1.0, 1000.0, 50.0])
    table = torch.tensor(rng.normal(size=(60, 4))) * units
    _, scale, _ = statistics(table, torch.arange(60) % 3, 3)
    assert scale / units == pytest.approx(torch.ones(4), rel=0.3)


def test_a_class_with_many_examples_counts_as_much_as_one_with_few() -> None:
    one, other = torch.tensor([[0.0, 1.0]]), torch.tensor([[4.0, 3.0]])
    even = statistics(torch.cat([one, other]), torch.tensor([0, 1]), 2)[0]
    uneven = statistics(torch.cat([one, *[other] * 9]), torch.tensor([0] + [1] * 9), 2)[0]
    torch.testing.assert_close(uneven, even)


@pytest.mark.parametrize("algorithm", HEADS, ids=lambda a: a.head_name)
def test_a_common_unit_and_origin_change_nothing(algorithm: Standardized) -> None:
    support, labels, queries = draw(4, 3, 12)
    plain = logits(algorithm, support, labels, queries)
    moved = logits(algorithm, 1000 * support + 7, labels, 1000 * queries + 7)
    torch.testing.assert_close(moved, plain, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("algorithm", HEADS, ids=lambda a: a.head_name)
def test_one_wild_value_moves_an_answer_little(algorithm: Standardized) -> None:
    support, labels, queries = draw(3, 8, 32)
    assert (logits(algorithm, support, labels, queries).argmax(1) == torch.arange(3)).all()
    for spoilt, asked in ((support.clone(), queries), (support, queries.clone())):
        (spoilt if spoilt is not support else asked)[0, 5] = 1e9
        assert (logits(algorithm, spoilt, labels, asked).argmax(1) == torch.arange(3)).all()


@pytest.mark.parametrize("algorithm", HEADS, ids=lambda a: a.head_name)
def test_dimensions_that_tell_nothing(algorithm: Standardized) -> None:
    support, labels, queries = draw(3, 4, 6)
    flat = torch.full((len(support), 3), 5.0)
    answers = logits(algorithm, torch.cat([support, flat], 1), labels, torch.cat([queries, flat[:3]], 1))
    assert (answers.argmax(1) == torch.arange(3)).all()
    same = torch.ones(6, 4)
    assert logits(algorithm, same, torch.tensor([0, 0, 1, 1, 2, 2]), same[:1]).isfinite().all()
    assert logits(algorithm, support, labels, 1e30 * queries).isfinite().all()


def test_length_is_bounded_and_counts_in_few_dimensions() -> None:
    params = HEADS[0].init()
    center, scale = torch.zeros(1), torch.ones(1)
    u = standardize(params, center, scale, torch.tensor([[0.1], [1.0], [5.0], [1e6]]))
    assert (u[1:] > u[:-1]).all()
    assert float(u.max()) <= 1
    # Three classes on a line: the one in the middle is found, which directions alone could not.
    support = torch.tensor([[-4.0], [-4.2], [0.0], [0.1], [4.0], [4.1]])
    assert logits(HEADS[0], support, torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([[0.2]])).argmax() == 1


@pytest.mark.parametrize("algorithm", HEADS, ids=lambda a: a.head_name)
@pytest.mark.parametrize("wild", [1e2, 1e15])
def test_a_row_that_is_far_away_falls_below_every_threshold(algorithm: Standardized, wild: float) -> None:
    """Of the same direction, with the same probabilities."""
    support, labels, queries = draw(4, 5, 32)
    near, far = logits(algorithm, support, labels, queries), logits(algorithm, support, labels, wild * queries)
    assert float(far.max()) < float(near.min()) - 10
    own = algorithm.init()
    adapted = algorithm.adapt(own, support, labels, 4)
    blind = algorithm.head(own, {**adapted, "reach": torch.tensor(1e30)}, wild * queries)
    torch.testing.assert_close(far.softmax(1), blind.softmax(1))


def test_few_examples_say_little_about_what_is_far() -> None:
    """One example of each of two classes in four columns: their scale may be anything."""
    assert share_far(n_dimensions=4) < 0.02


def test_dimensions_whose_scale_is_tiny_by_chance_make_no_row_far() -> None:
    """One example of each of two classes in many columns, of which some nearly agree."""
    assert share_far(n_dimensions=384, units=np.geomspace(1e-3, 1, 384)) < 0.02


def share_far(n_dimensions: int, units: NDArray[np.float64] | float = 1.0) -> float:
    """Of queries of known classes: those whose logits fall."""
    params, found = HEADS[0].init(), []
    for seed in range(200):
        support, labels, queries = (
            t * torch.as_tensor(units) if t.is_floating_point() else t for t in draw(2, 1, n_dimensions, seed)
        )
        adapted = HEADS[0].adapt(params, support.float(), labels, 2)
        usual = HEADS[0].head(params, {**adapted, "reach": torch.tensor(1e30)}, queries.float())
        found.append((HEADS[0].head(params, adapted, queries.float()) < usual - 1e-3).float().mean())
    return float(torch.stack(found).mean())


def test_zero_steps_are_prototypes() -> None:
    support, labels, queries = draw(5, 3, 20)
    gradient = Standardized(BACKBONE, "gradient", InnerSettings(0, 0.1))
    torch.testing.assert_close(
        logits(gradient, support, labels, queries), logits(HEADS[0], support, labels, queries), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("apart", [0.0, 1.0, 8.0])
@pytest.mark.parametrize("inner_lr", [0.1, 1.0])
def test_steps_do_not_run_away_where_classes_overlap(apart: float, inner_lr: float) -> None:
    """Steps of 0.1 at the published scale suit classes that lie apart; two columns of noise do not."""
    labels = torch.arange(100) % 2
    support = torch.randn(100, 2, generator=torch.Generator().manual_seed(0)) + apart * labels[:, None]
    gradient, losses = Standardized(BACKBONE, "gradient", InnerSettings(20, inner_lr)), []
    own = {**gradient.init(), "log_scale": torch.tensor(2.4)}
    adapted = gradient.adapt(own, support, labels, 2, on_step=lambda _, loss: losses.append(loss))
    losses.append(float(functional.cross_entropy(gradient.head(own, adapted, support), labels)))
    assert losses[-1] < losses[0] + 1e-6
    assert losses[-1] < min(losses) + 0.01


def test_inner_settings_belong_to_the_gradient_head() -> None:
    for wrong in ({"head_name": "ridge", "inner": InnerSettings(1, 0.1)}, {"head_name": "gradient"}):
        with pytest.raises(ValueError, match="gradient"):
            Standardized(BACKBONE, **wrong)
