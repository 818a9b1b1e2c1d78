"""One ONNX graph that adapts: support set and queries in, calibrated probabilities out, the inner loop inside.

    probabilities, rejected = graph(support, labels, n_way, queries)

The published algorithm is traced as it is: `make_fx` records the inner loop with its `torch.func.grad` taken apart,
`torch.export` makes numbers of examples, classes and queries symbols, ONNX gets what is left. What was traced
is compared with torch before anything is written.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from meta_models import between, decompositions
from meta_models.algorithms import InnerSettings
from meta_models.algorithms.inner_loop import CHUNK
from meta_models.decompositions import NotDecomposableError
from meta_models.exported import AdaptingAbout, AdaptingClassifier, Parity
from meta_models.inputs.vector import MAX_DIMENSIONS
from meta_models.manifest import META_PARAMS_FILE, Manifest
from meta_models.onnx_export import to_onnx
from meta_models.publish import PARITY, PublishError
from meta_models.serving import probabilities
from meta_models.torch_model import TorchModel, as_floats

INPUTS = ("support", "labels", "classes", "queries")
PROOF = ((2, 3, 1), (5, 25, 7), (20, 20, 40), (3, 30, 2), (12, 61, 33))
"""(n_way, n_support, n_query) that the graph is compared on; none is the one it was traced with."""


@dataclass(frozen=True)
class Adapting:
    """A finished graph.

    Attributes:
        data: the file.
        parity: its measured difference from torch.
    """

    data: bytes
    parity: Parity


def export_adapting(model: TorchModel, manifest: Manifest, inner: InnerSettings | None = None) -> Adapting:
    """Export a meta-model with its inner loop.

    Args:
        model: the published meta-model in torch, on the CPU.
        manifest: its manifest, with calibration.
        inner: steps and step size that the graph will always take; by default the manifest's.

    Raises:
        PublishError: the graph's probabilities differ from torch's by more than `PARITY`.
        NotDecomposableError: something in it cannot be said in ONNX for any number of examples.
    """
    if model.n_support_views:
        raise NotDecomposableError(
            f"{manifest.reference} has no adapting export: it adapts to views of examples, which the service "
            "makes; export an adapted model instead"
        )
    inner = inner or model.algorithm.inner
    about = AdaptingAbout(
        meta_model=manifest.reference,
        meta_model_digest=manifest.files[META_PARAMS_FILE],
        preprocessing=manifest.input,
        calibration=manifest.calibration,
        inner_steps=inner.inner_steps if inner else None,
        inner_lr=inner.inner_lr if inner else None,
        max_classes=manifest.limits.max_classes,
        # The inner loop sums gradients over chunks of examples; the graph holds one chunk.
        max_support=CHUNK - 1 if inner else manifest.limits.max_examples,
    )
    try:
        graph = _finish(_trace(_Adapts(model, manifest, inner), about), about)
        parity = check_adapting(AdaptingClassifier(graph), model, manifest, inner)
    except (NotDecomposableError, PublishError):
        raise
    except Exception as error:  # torch's tracing fails in many ways, and so does a graph with a size taken for constant
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise NotDecomposableError(
            f"{manifest.reference} has no adapting export: its adaptation cannot be traced for any number of examples "
            f"({why})"
        ) from error
    proven = onnx.load_model_from_string(graph)
    helper.set_model_props(proven, about.model_copy(update={"parity": parity}).to_metadata())
    return Adapting(proven.SerializeToString(), parity)


def check_adapting(
    graph: AdaptingClassifier, model: TorchModel, manifest: Manifest, inner: InnerSettings | None
) -> Parity:
    """Largest difference of probabilities between the graph and torch, over random episodes.

    Raises:
        PublishError: it exceeds `PARITY`.
    """
    rng, worst, examples = np.random.default_rng(0), 0.0, 0
    for n_way, n_support, n_query in PROOF:
        classes = rng.permutation(np.arange(n_support + n_query) % n_way)
        # Every class once among the support examples, whatever the order.
        classes[:n_way] = np.arange(n_way)
        drawn = manifest.input.examples(rng, classes)
        support, queries, labels = drawn[:n_support], drawn[n_support:], classes[:n_support]
        here, _ = graph(support, labels, n_way, queries)
        adapted = model.adapt(model.features(support), labels, n_way, inner)
        calibration = manifest.calibration_for(n_way, n_support / n_way)
        there = probabilities(model.logits(adapted, model.features(queries)), calibration)
        worst, examples = float(np.maximum(worst, np.abs(here - there).max())), examples + n_query
    if not worst <= PARITY:
        raise PublishError(
            f"{manifest.reference}: the adapting graph's probabilities differ from torch's by {worst:.2e}, "
            f"more than {PARITY:.0e}"
        )
    return Parity(reference="torch", max_difference=worst, tolerance=PARITY, examples=examples)


class _Adapts(nn.Module):
    """Body, adapt, head and calibration as one function of tensors."""

    ramps: Tensor
    log_temperatures: Tensor
    rejection_logits: Tensor

    def __init__(self, model: TorchModel, manifest: Manifest, inner: InnerSettings | None) -> None:
        super().__init__()
        self.model, self.inner = model, inner
        rows = manifest.calibration
        settings = tuple((c.n_way, c.n_shot) for c in rows)
        self.register_buffer("ramps", torch.tensor(between.ramps(settings)))
        self.register_buffer("log_temperatures", torch.tensor([c.temperature for c in rows], dtype=torch.float64).log())
        self.register_buffer("rejection_logits", torch.tensor([c.rejection_logit for c in rows], dtype=torch.float64))

    def forward(self, support: Tensor, labels: Tensor, classes: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """`classes` is (n_way,) and holds 0 … n_way-1: a size that tracing can leave open."""
        algorithm, params = self.model.algorithm, self.model.meta_params
        features = algorithm.body(params, as_floats(support))
        adapted = algorithm.adapt(params, features, labels, classes.shape[0], inner=self.inner)
        logits = algorithm.head(params, adapted, algorithm.body(params, as_floats(queries)))
        n_way, n_support = torch.ones_like(classes).sum().double(), torch.ones_like(labels).sum().double()
        of = between.weights(self.ramps, n_way.log(), n_way / n_support)
        temperature, rejection = (of * self.log_temperatures).sum().exp(), (of * self.rejection_logits).sum()
        return torch.softmax(logits / temperature.to(logits.dtype), 1), logits.amax(1) < rejection


def _trace(module: _Adapts, about: AdaptingAbout) -> onnx.ModelProto:
    """The module in ONNX, numbers of examples, classes and queries left open."""
    # Sizes unlike one another and unlike any of the network: equal ones would be taken for one symbol.
    n_way, n_support, n_query = 5, 23, 11
    rng, labels = np.random.default_rng(0), np.arange(n_support) % n_way
    example = (
        torch.from_numpy(about.preprocessing.examples(rng, labels)),
        torch.from_numpy(labels),
        torch.arange(n_way),
        torch.from_numpy(about.preprocessing.examples(rng, labels[:n_query])),
    )
    support = torch.export.Dim("n_support", min=2, max=about.max_support)
    classes = torch.export.Dim("n_way", min=2, max=about.max_classes)
    opened = {
        axis: torch.export.Dim(size, min=1, max=MAX_DIMENSIONS)
        for axis, size in enumerate(about.preprocessing.shape, 1)
        if isinstance(size, str)
    }
    sizes = ({0: support, **opened}, {0: support}, {0: classes}, {0: torch.export.Dim("n_query", min=1), **opened})
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing warns about its own internals
        traced = make_fx(
            lambda support, labels, classes, queries: module(support, labels, classes, queries),
            decomposition_table=decompositions.table(),
            tracing_mode="symbolic",
            _allow_non_fake_inputs=True,
        )(*example)
        program = torch.export.export(traced, example, dynamic_shapes=sizes, strict=False)
        return to_onnx(program, (), INPUTS, ("probabilities", "rejected"))


def _finish(model: onnx.ModelProto, about: AdaptingAbout) -> bytes:
    """Take `n_way` itself in place of the list of classes, and say what the graph is."""
    graph = model.graph
    given = {value.name: value for value in graph.input}
    graph.ClearField("input")
    n_way = helper.make_tensor_value_info("n_way", TensorProto.INT64, [])
    graph.input.extend([given["support"], given["labels"], n_way, given["queries"]])
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.int64), "classes/start"))
    graph.initializer.append(numpy_helper.from_array(np.array(1, np.int64), "classes/step"))
    graph.node.insert(0, helper.make_node("Range", ["classes/start", "n_way", "classes/step"], ["classes"], "classes"))
    graph.name = f"{about.meta_model} adapting"
    model.producer_name = "innerloop"
    steps = "" if about.inner_steps is None else f"{about.inner_steps} inner steps of {about.inner_lr}; "
    model.doc_string = (
        f"{about.meta_model} with its adaptation inside; {steps}from 2 to {about.max_classes} classes, up to "
        f"{about.max_support} support examples, any number of queries. `support` and `queries` are pictures "
        "pre-processed as metadata_props['innerloop.preprocessing'] says; `labels` are in [0, n_way), each class at "
        "least once."
    )
    helper.set_model_props(model, about.to_metadata())
    onnx.checker.check_model(model)
    return model.SerializeToString()
