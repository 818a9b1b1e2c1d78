"""Text meta-models beside what people would reach for: same encoder, same episodes, one run.

Of each class set: nearest class mean on the encoder as it came, the same with class names, logistic regression on its
embeddings, and every published text meta-model with class names and with names hidden. Then CLINC150's own out-of-scope
queries, and all classes of a data set at once with five examples each.

    python -m benchmarks.text --data data
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from meta_models.catalogue import Catalogue
from meta_models.datasets import ClassPool
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.evaluate import Accuracy, pool_features
from meta_models.inputs import Caps, TextSpec
from meta_models.measures import auroc
from meta_models.pretrained import encoder_folder, encoder_tensors
from meta_models.recipe import load_recipe
from meta_models.serving import ServedModel
from meta_models.serving_path import ServingPath
from meta_models.sources import load_splits
from meta_models.text_sources import OUT_OF_SCOPE, first_examples, read_lines, text_pool
from meta_models.torch_model import TorchModel, build_algorithm

SETTINGS = ((5, 1), (5, 5), (20, 1), (20, 5))
N_QUERY, SEED = 5, 11
RESULTS = Path(__file__).parent / "results" / "text.json"

Features = NDArray[np.float32]
Classifier = Callable[[Features, NDArray[np.int64], Features], NDArray[np.int64]]
"""Support features (n, 2, d) with names beside them, labels, query features (m, 2, d), to answers (m,)."""


def nearest_mean(names: float) -> Classifier:
    """Cosine to class means of unit vectors; each name counts as so many examples."""

    def answer(support: Features, labels: NDArray[np.int64], query: Features) -> NDArray[np.int64]:
        sums = [support[labels == c, 0].sum(0) + names * support[labels == c, 1][0] for c in range(labels.max() + 1)]
        means = np.stack(sums)
        return (query[:, 0] @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T).argmax(1)

    return answer


def logistic_regression(support: Features, labels: NDArray[np.int64], query: Features) -> NDArray[np.int64]:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=10, max_iter=1000).fit(support[:, 0], labels).predict(query[:, 0])


def adapted(path: ServingPath, *, hidden: bool) -> Classifier:
    def answer(support: Features, labels: NDArray[np.int64], query: Features) -> NDArray[np.int64]:
        shown = support.copy()
        shown[:, 1] *= not hidden
        found = path.adapt(shown, labels, int(labels.max()) + 1)
        return path.logits(found, query).argmax(1)

    return answer


@dataclass(frozen=True)
class Encoded:
    """A class set as an encoder sees it, and who answers from that."""

    features: Features
    classifiers: dict[str, Classifier]


def compare(pool: ClassPool, encoded: list[Encoded], spec: EpisodeSpec, episodes: int) -> dict[str, Accuracy]:
    """Accuracy of every classifier on the same episodes."""
    right: dict[str, list[float]] = {}
    for number in range(episodes):
        rows = sample_episode(pool, spec, SEED, number)
        truth = np.repeat(np.arange(rows.n_way), rows.query.shape[1])
        for one in encoded:
            support, query = one.features[rows.support.ravel()], one.features[rows.query.ravel()]
            for name, classify in one.classifiers.items():
                given = classify(support, rows.support_labels.ravel(), query)
                right.setdefault(name, []).append(float((given == truth).mean()))
    return {name: Accuracy.of(values) for name, values in right.items()}


def out_of_scope(path: ServingPath, data: Path, pool: ClassPool, n_shot: int, rounds: int) -> dict[str, float]:
    """Known queries against CLINC150's out-of-scope ones, by the best logit: AUROC, and the share of out-of-scope
    queries taken for known where 5% of the known ones are rejected; means over support sets of all classes of `pool`.
    """
    spec = path.served.manifest.input
    assert isinstance(spec, TextSpec)
    lines = [line for line in read_lines(data, "clinc150") if line["label"] == OUT_OF_SCOPE]
    others = np.stack([spec.read(line["text"], Caps()) for line in lines])
    features, unknown = pool_features(path, pool), path.features(others)
    found: list[tuple[float, float]] = []
    for number in range(rounds):
        rows = sample_episode(pool, EpisodeSpec(pool.n_classes, n_shot, 20), SEED, number)
        model = path.adapt(features[rows.support.ravel()], rows.support_labels.ravel(), rows.n_way)
        known = path.logits(model, features[rows.query.ravel()]).max(1)
        strange = path.logits(model, unknown).max(1)
        found.append((auroc(known, strange), float((strange >= np.quantile(known, 0.05)).mean())))
    mean = np.mean(found, axis=0)
    return {
        "classes": pool.n_classes,
        "auroc": float(mean[0]),
        "false_accept_at_5_percent_false_reject": float(mean[1]),
    }


def plain_encoder(data: Path) -> TorchModel:
    """all-MiniLM-L6-v2 as it came."""
    recipe = load_recipe("text-minilm")
    algorithm = build_algorithm(recipe.algorithm, recipe.backbone, recipe.input.shape)
    tensors = encoder_tensors(encoder_folder(recipe.initialize_from or "", data))
    return TorchModel(algorithm, {**algorithm.init(), **tensors})


def measure(data: Path, episodes: int, out: Console) -> dict[str, Any]:
    plain = plain_encoder(data)
    recipe = load_recipe("text-minilm")
    spec = recipe.input.located(encoder_folder(recipe.initialize_from or "", data))
    splits = load_splits(data, recipe.model_copy(update={"input": spec}))
    paths = [
        ServingPath(ServedModel(p.folder, p.manifest), TorchModel.load(p.folder, p.manifest))
        for p in Catalogue()
        if p.manifest.input.kind == "text"
    ]
    ours = {
        f"{path.served.manifest.name}{', names hidden' if hidden else ''}": adapted(path, hidden=hidden)
        for path in paths
        for hidden in (False, True)
    }
    theirs = {
        "nearest mean": nearest_mean(0),
        "nearest mean with names": nearest_mean(1),
        "logistic regression": logistic_regression,
    }

    assert isinstance(spec, TextSpec)

    def encoded(pool: ClassPool) -> list[Encoded]:
        made = [Encoded(np.asarray(pool_features(plain, pool), np.float32), theirs)]
        for path in paths:
            own = {name: c for name, c in ours.items() if name.split(",")[0] == path.served.manifest.name}
            made.append(Encoded(np.asarray(pool_features(path, pool), np.float32), own))
        return made

    rows: list[dict[str, Any]] = []

    def record(of: str, pool: ClassPool, spec: EpisodeSpec, made: list[Encoded], n: int) -> None:
        for name, accuracy in compare(pool, made, spec, n).items():
            figures = {"accuracy": round(100 * accuracy.mean, 2), "ci95": round(100 * accuracy.ci95, 2), "episodes": n}
            rows.append({"classes": of, "n_way": spec.n_way, "n_shot": spec.n_shot, "method": name, **figures})

    protocols = [p for p in splits.test if "hidden" not in p.name]
    for protocol in track(protocols, "comparing", console=out):
        made = encoded(protocol.pool)
        for n_way, n_shot in SETTINGS:
            record(
                protocol.name,
                protocol.pool,
                EpisodeSpec(n_way, n_shot, N_QUERY).for_pool(protocol.pool),
                made,
                episodes,
            )
    for name in ("banking77", "clinc150"):
        pool = first_examples(text_pool(data, name, spec), 40)
        record(f"{name}, all classes", pool, EpisodeSpec(pool.n_classes, 5, 20), encoded(pool), max(2, episodes // 60))
    clinc = next(p.pool for p in protocols if p.name == "CLINC150")
    scope = {path.served.manifest.name: out_of_scope(path, data, clinc, 5, 10) for path in paths}
    return {"rows": rows, "out_of_scope": scope}


def show(found: dict[str, Any], out: Console) -> None:
    settings = list(dict.fromkeys((r["classes"], r["n_way"], r["n_shot"]) for r in found["rows"]))
    methods = list(dict.fromkeys(r["method"] for r in found["rows"]))
    cell = {
        (r["classes"], r["n_way"], r["n_shot"], r["method"]): f"{r['accuracy']:.1f} ± {r['ci95']:.1f}"
        for r in found["rows"]
    }
    table = Table("classes", "setting", *methods, box=None, header_style="dim")
    for of, n_way, n_shot in settings:
        table.add_row(of, f"{n_way}w{n_shot}s", *(cell.get((of, n_way, n_shot, m), "") for m in methods))
    out.print(table)
    for name, scope in found["out_of_scope"].items():
        out.print(name, "out of scope:", {k: round(v, 4) for k, v in scope.items()}, highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--episodes", type=int, default=600)
    asked, out = parser.parse_args(), Console(width=200)
    found = measure(asked.data, asked.episodes, out)
    show(found, out)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
