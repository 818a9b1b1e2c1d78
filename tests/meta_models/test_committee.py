"""Networks that learn apart and answer together: what each knows, sees and compares by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from meta_models.algorithms import Tensors, meta_loss
from meta_models.algorithms.set_to_set import init_set_to_set, set_to_set
from meta_models.datasets import ClassPool
from tests.meta_models.test_algorithms import adapt, episode, predict
from tests.meta_models.test_families import build


def test_a_committee_answers_with_the_mean_of_its_members(pool: ClassPool) -> None:
    both, meta_params = build("committee")
    one, _ = build({"name": "committee", "members": 1})
    alone, _ = build("protonet-cosine")
    e = episode(pool, [1] * 5)
    members: list[Tensors] = [
        {n.replace(f"backbone.{i}.", "backbone.0."): t for n, t in meta_params.items() if f"backbone.{1 - i}." not in n}
        for i in range(2)
    ]
    answers = [predict(one, member, adapt(one, member, e), e.query_inputs) for member in members]
    together = predict(both, meta_params, adapt(both, meta_params, e), e.query_inputs)
    torch.testing.assert_close(together, (answers[0] + answers[1]) / 2)
    assert float((answers[0] - answers[1]).abs().max()) > 1e-2, "the members are one"
    named = {name.replace("backbone.0.", "backbone."): tensor for name, tensor in members[0].items()}
    torch.testing.assert_close(predict(alone, named, adapt(alone, named, e), e.query_inputs), answers[0])


def test_members_of_a_committee_learn_apart(pool: ClassPool) -> None:
    """What one member learns does not depend on what the other knows."""
    committee, meta_params = build("committee")
    e, name = episode(pool, [1] * 5), "backbone.0.blocks.block2.conv.weight"
    gradients: list[torch.Tensor] = []
    for scale in (1.0, 3.0):
        params = {n: t * scale if n.startswith("backbone.1.blocks.block1") else t for n, t in meta_params.items()}
        params[name] = params[name].clone().requires_grad_()
        loss, _ = meta_loss(committee, params, e, training=False)
        gradients += torch.autograd.grad(loss, params[name])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_prototypes_of_a_committee_see_one_another_while_it_learns(pool: ClassPool) -> None:
    """Another class changes what is learned of the first ones, which begins as if it did not; answers it never does."""
    plain, meta_params = build("committee")
    context, richer = build({"name": "committee", "context": True})
    richer |= meta_params
    e = episode(pool, [1] * 5)
    begins = meta_loss(context, richer, e, training=False)
    torch.testing.assert_close(begins, meta_loss(plain, meta_params, e, training=False), atol=1e-2, rtol=0)
    learned = {n: torch.randn_like(t) if n.startswith("outer.") else t for n, t in richer.items()}
    assert not torch.isclose(meta_loss(context, learned, e, training=False)[0], begins[0])
    answers = predict(context, learned, adapt(context, learned, e), e.query_inputs)
    torch.testing.assert_close(answers, predict(plain, meta_params, adapt(plain, meta_params, e), e.query_inputs))
    rows = functional.normalize(torch.randn(4, 10), dim=-1)
    tensors = {name: 0.3 * torch.randn_like(t) for name, t in init_set_to_set(10).items()}
    seen, order = set_to_set(tensors, rows), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(set_to_set(tensors, rows[order]), seen[order])
    assert not torch.isclose(set_to_set(tensors, rows[:3])[0], seen[0]).all()


def test_a_committee_compares_by_roots_once_it_has_learned(pool: ClassPool) -> None:
    plain, meta_params = build({"name": "committee", "members": 1})
    roots, _ = build({"name": "committee", "members": 1, "roots": True})
    inputs = episode(pool, [1] * 5).query_inputs
    known = plain.body(meta_params, inputs)
    torch.testing.assert_close(roots.body(meta_params, inputs), functional.normalize(known.sqrt(), dim=-1))
    learning = [one.body({**meta_params}, inputs, training=True) for one in (plain, roots)]
    torch.testing.assert_close(learning[0], learning[1])


@pytest.mark.parametrize("n_way", [3, 6])
def test_a_class_near_to_others_loses_similarity_to_queries(pool: ClassPool, n_way: int) -> None:
    plain, meta_params = build("committee")
    hubs, _ = build({"name": "committee", "hubs": True})
    e = episode(pool, [1] * n_way)
    adapted = adapt(hubs, meta_params, e)
    unit = functional.normalize(adapted["prototypes"], dim=-1).numpy()
    nearest = [sorted((float(a @ b) for b in np.delete(unit, i, 0)), reverse=True)[:3] for i, a in enumerate(unit)]
    near = 0.2 * np.mean(nearest, 1)
    np.testing.assert_allclose(adapted["hubness"], near - near.mean(), atol=1e-5)
    without = adapt(plain, meta_params, e)
    lost = predict(plain, meta_params, without, e.query_inputs) - predict(hubs, meta_params, adapted, e.query_inputs)
    scale = meta_params["log_scale"].exp()
    torch.testing.assert_close(lost, (scale * adapted["hubness"]).expand_as(lost), atol=1e-4, rtol=0)
    assert torch.equal(
        meta_loss(hubs, meta_params, e, training=False)[0], meta_loss(plain, meta_params, e, training=False)[0]
    )


def test_no_class_is_a_hub_where_one_has_several_examples(pool: ClassPool) -> None:
    hubs, meta_params = build({"name": "committee", "hubs": True})
    e = episode(pool, [2, 1, 1, 1])
    assert (adapt(hubs, meta_params, e)["hubness"] == 0).all()
    copied = replace(e, support_inputs=e.support_inputs[[0, 0, 2, 3, 4]])
    once = replace(e, support_inputs=e.support_inputs[[0, 2, 3, 4]], support_labels=e.support_labels[[0, 2, 3, 4]])
    found, expected = (adapt(hubs, meta_params, one)["hubness"] for one in (copied, once))
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_committee_compares_by_cosine() -> None:
    with pytest.raises(ValueError, match="by cosine"):
        build({"name": "committee", "metric": "euclidean"})
