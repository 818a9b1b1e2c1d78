"""The inner loop as an ONNX graph: its derivatives, its parity with torch, its refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from meta_models import decompositions
from meta_models.algorithms import InnerSettings
from meta_models.catalogue import Catalogue
from meta_models.export_adapting import check_adapting, export_adapting
from meta_models.exported import AdaptingClassifier, ExportedClassifier, NotAnExportError
from meta_models.inputs.picture import preprocess
from meta_models.manifest import META_PARAMS_FILE, Calibration, InnerLoop, Manifest
from meta_models.publish import PublishError
from meta_models.serving import probabilities
from meta_models.torch_model import TorchModel, build_algorithm
from tests.drawings import sketch
from tests.meta_models.conftest import SPEC
from tests.meta_models.test_algorithms import SHAPE, VARIANTS, a_training

BACKBONE = {"name": "conv4", "width": 8}
INNER = InnerSettings(2, 0.03)


def a_model(variant: str) -> tuple[TorchModel, Manifest]:
    """Untrained, with calibration entries that differ."""
    torch.manual_seed(0)
    algorithm = build_algorithm(VARIANTS[variant], BACKBONE, SHAPE)
    model = TorchModel(algorithm, algorithm.init())
    entry = Calibration(
        n_way=2, n_shot=1, temperature=0.8, rejection_logit=9.0, expected_calibration_error=0, unseen_auroc=0
    )
    entries = [
        entry.model_copy(update={"n_way": w, "n_shot": s, "temperature": 0.2 * w / s}) for w in (2, 9) for s in (1, 6)
    ]
    manifest = Manifest(
        name="sketches",
        version=1,
        description="sketches of the tests",
        algorithm=VARIANTS[variant],
        backbone=BACKBONE,
        input=SPEC,
        inner_loop=InnerLoop(inner_steps=2, inner_lr=0.03) if algorithm.inner else None,
        shares_body=model.shares_body,
        adapted_tensors={},
        calibration=tuple(entries),
        benchmarks=(),
        training=a_training(),
        files={META_PARAMS_FILE: "0" * 64},
    )
    return model, manifest


class Exported(NamedTuple):
    model: TorchModel
    manifest: Manifest
    inner: InnerSettings | None
    graph: AdaptingClassifier
    data: bytes


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("maml", "relation")]


@pytest.fixture(scope="module", params=[*SLOW, "anil", "protonet-cosine", "committee-hubs"])
def exported(request: pytest.FixtureRequest) -> Exported:
    model, manifest = a_model(request.param)
    inner = INNER if model.algorithm.inner else None
    made = export_adapting(model, manifest, inner)
    assert made.parity.max_difference <= 1e-4
    return Exported(model, manifest, inner, AdaptingClassifier(made.data), made.data)


def drawn(n: int, first: int = 0) -> np.ndarray:
    return np.stack([preprocess(sketch((first + i) % 7, i), SPEC) for i in range(n)])


@pytest.mark.parametrize(("n_way", "n_support", "n_query"), [(2, 2, 1), (3, 7, 5), (7, 35, 2), (7, 7, 40)])
def test_any_way_any_shot_as_torch(exported: Exported, n_way: int, n_support: int, n_query: int) -> None:
    model, manifest, inner, graph, _ = exported
    support, queries, labels = drawn(n_support), drawn(n_query, 3), np.arange(n_support) % n_way
    here, rejected = graph(support, labels, n_way, queries)
    logits = model.logits(model.adapt(model.features(support), labels, n_way, inner), model.features(queries))
    calibration = manifest.calibration_for(n_way, n_support / n_way)
    np.testing.assert_allclose(here, probabilities(logits, calibration), atol=1e-4)
    assert here.shape == (n_query, n_way)
    near = np.abs(logits.max(1) - calibration.rejection_logit) < 1e-3
    assert ((rejected == (logits.max(1) < calibration.rejection_logit)) | near).all()


def test_adapting_happens_inside(exported: Exported) -> None:
    """Other labels, other answers; with an inner loop other than prototypes alone would give."""
    model, manifest, inner, graph, _ = exported
    support, queries = drawn(14), drawn(4)
    labels = np.arange(14) % 7
    plain, _ = graph(support, labels, 7, queries)
    turned, _ = graph(support, (labels + 1) % 7, 7, queries)
    np.testing.assert_allclose(np.roll(plain, 1, axis=1), turned, atol=1e-4)
    if inner:
        start = model.adapt(model.features(support), labels, 7, InnerSettings(0, 0.1))
        unadapted = probabilities(model.logits(start, model.features(queries)), manifest.calibration_for(7, 2))
        assert np.abs(plain - unadapted).max() > 1e-3


def test_what_the_graph_says_of_itself(exported: Exported) -> None:
    _, manifest, inner, graph, _ = exported
    about = graph.about
    assert about.meta_model == "sketches@1"
    assert about.preprocessing == SPEC
    assert about.calibration == manifest.calibration
    assert (about.inner_steps, about.inner_lr) == ((2, 0.03) if inner else (None, None))
    assert about.parity is not None
    assert about.parity.reference == "torch"


def test_what_the_graph_does_not_take(exported: Exported) -> None:
    graph = exported.graph
    with pytest.raises(ValueError, match="2 to 200 classes, not 1"):
        graph(drawn(2), np.zeros(2, np.int64), 1, drawn(1))
    with pytest.raises(ValueError, match=r"examples a class: \[1, 0, 1\]"):
        graph(drawn(2), np.array([0, 2]), 3, drawn(1))
    too_many = graph.about.max_support + 1
    with pytest.raises(ValueError, match=f"not {too_many}"):
        graph(np.zeros((too_many, *SHAPE), np.uint8), np.arange(too_many) % 2, 2, drawn(1))


def test_a_graph_that_disagrees_with_torch_is_refused(exported: Exported) -> None:
    model, manifest, inner, graph, _ = exported
    weights = model.meta_params
    drifted = replace(model, meta_params={n: t.flip(0) if "block2.conv.w" in n else t for n, t in weights.items()})
    with pytest.raises(PublishError, match="differ from torch's"):
        check_adapting(graph, drifted, manifest, inner)
    spoilt = TorchModel(model.algorithm, {name: torch.full_like(t, torch.nan) for name, t in model.meta_params.items()})
    with pytest.raises(PublishError, match="differ from torch's by nan"):
        check_adapting(graph, spoilt, manifest, inner)


@pytest.mark.parametrize("exported", ["anil"], indirect=True)
def test_a_graph_with_other_steps_is_refused(exported: Exported) -> None:
    model, manifest, _, graph, _ = exported
    with pytest.raises(PublishError, match="differ from torch's"):
        check_adapting(graph, model, manifest, InnerSettings(3, 0.03))


def test_one_kind_of_export_is_not_the_other(exported: Exported) -> None:
    with pytest.raises(NotAnExportError, match="expected classifier, this file is adapting"):
        ExportedClassifier(exported.data)


@pytest.mark.parametrize(("size", "padding", "kernel"), [(8, 1, 3), (7, 0, 3), (9, 2, 5), (6, 0, 1)])
def test_derivative_of_a_convolution(size: int, padding: int, kernel: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 3, size, size, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, 3, kernel, kernel, dtype=torch.float64, requires_grad=True)
    b = torch.randn(4, dtype=torch.float64, requires_grad=True)
    out = functional.conv2d(x, w, b, padding=padding)
    g = torch.randn_like(out)
    ours = decompositions.convolution_backward(
        g, x, w, [4], [1, 1], [padding, padding], [1, 1], False, [0, 0], 1, [True, True, True]
    )
    for mine, expected in zip(ours, torch.autograd.grad(out, (x, w, b), g), strict=True):
        assert mine is not None
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize(("height", "width", "kernel"), [(8, 8, 2), (7, 5, 2), (9, 7, 3), (6, 9, (2, 3))])
def test_derivative_of_max_pooling(height: int, width: int, kernel: int | tuple[int, int]) -> None:
    """Whole numbers, so that windows have ties: the first of them takes all, as in torch."""
    torch.manual_seed(0)
    x = torch.randint(0, 3, (4, 2, height, width)).double().requires_grad_()
    out, indices = functional.max_pool2d(x, kernel, return_indices=True)
    g = torch.randn_like(out)
    size = list(kernel) if isinstance(kernel, tuple) else [kernel, kernel]
    ours = decompositions.max_pool_backward(g, x, size, size, [0, 0], [1, 1], False, indices)
    torch.testing.assert_close(ours, torch.autograd.grad(out, x, g)[0])


def test_what_has_no_derivative_says_so() -> None:
    x: Tensor = torch.zeros(1, 1, 4, 4)
    with pytest.raises(decompositions.NotDecomposableError, match=r"stride \[2, 2\]"):
        decompositions.convolution_backward(
            x, x, x, None, [2, 2], [0, 0], [1, 1], False, [0, 0], 1, [True, True, False]
        )
    with pytest.raises(decompositions.NotDecomposableError, match=r"stride \[1, 1\]"):
        decompositions.max_pool_backward(x, x, [2, 2], [1, 1], [0, 0], [1, 1], False, x)


def test_a_relation_is_traced_for_any_number_of_queries_and_classes() -> None:
    model, _ = a_model("relation")
    maps = model.algorithm.body(model.meta_params, torch.rand(15, *SHAPE))

    def head(support: Tensor, queries: Tensor) -> Tensor:
        adapted = {"of_class": functional.conv2d(support, model.meta_params["relation.class"], padding="same")}
        return model.algorithm.head(model.meta_params, adapted, queries)

    traced = make_fx(head, tracing_mode="symbolic", _allow_non_fake_inputs=True)(maps[:5], maps[:11])
    torch.testing.assert_close(traced(maps[11:], maps[:7]), head(maps[11:], maps[:7]))


def test_a_graph_that_does_not_run_is_no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing took a size for a constant."""
    model, manifest = a_model("protonet-cosine")
    traced = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]>
        traced (uint8[s,1,28,28] support, int64[s] labels, int64[n] classes, uint8[q,1,28,28] queries)
            => (float[q,n] probabilities, bool[11] rejected)
            <int64[2] sizes = {11, 5}, int64[1] eleven = {11}>
        {
            floats = Cast <to = 1> (classes)
            probabilities = Reshape (floats, sizes)
            whole = Cast <to = 9> (labels)
            rejected = Reshape (whole, eleven)
        }""")
    monkeypatch.setattr("meta_models.export_adapting._trace", lambda *_: traced)
    with pytest.raises(decompositions.NotDecomposableError, match=r"sketches@1 has no adapting export: .*Reshape"):
        export_adapting(model, manifest)


@pytest.mark.parametrize("name", ["vector-ridge", "text-minilm"])
def test_what_cannot_be_traced_says_so(name: str) -> None:
    published = Catalogue().resolve(name)
    model = TorchModel.load(published.folder, published.manifest)
    with pytest.raises(decompositions.NotDecomposableError, match="no adapting export"):
        export_adapting(model, published.manifest)
