"""Beside packages that others would reach for: same encoder, same texts, accuracy and seconds in one run.

A rival works with its own defaults, from strings, on one thread like the text meta-model, which adapts as the service
does. Class means and logistic regression on the encoder as it came are in the same run. Seconds are of the processor,
so that other work on the machine does not count. Rivals want different versions of the same packages: each gets an
environment of its own, and its rows of the results are replaced.

    pip install setfit               # or: pip install adaptive-classifier
    python -m benchmarks.text_rivals SetFit --data data
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.text import Features, plain_encoder
from meta_models.catalogue import Catalogue
from meta_models.inputs import Caps, TextSpec
from meta_models.measures import student_reach
from meta_models.pretrained import encoder_folder
from meta_models.serving import ServedModel
from meta_models.serving_path import ServingPath
from meta_models.text_sources import FOLDS_FILE, INTENTS, read_file, read_lines
from meta_models.torch_model import TorchModel

SETTINGS = ((5, 5), (20, 5))
EPISODES, N_QUERY, SEED = 5, 15, 21
RESULTS = Path(__file__).parent / "results" / "text_rivals.json"

Fitted = tuple[Callable[[Features], NDArray[np.int64]], int]
"""Query features (m, d) to class numbers (m,), and the bytes to keep for that."""


@dataclass(frozen=True)
class Asked:
    """An episode in words."""

    support: list[str]
    labels: list[str]
    queries: list[str]
    truth: list[str]


@dataclass(frozen=True)
class Answered:
    accuracy: float
    adapt_seconds: float
    ms_a_query: float
    bytes: int


def draw(data: Path, name: str, n_way: int, n_shot: int, number: int) -> Asked:
    """From the test classes of fold 01."""
    classes = json.loads(read_file(data, FOLDS_FILE))[name]["01"]["test"]
    lines = read_lines(data, name)
    rng = np.random.default_rng((SEED, number))
    chosen = [classes[i] for i in rng.permutation(len(classes))[:n_way]]
    support, queries = list[tuple[str, str]](), list[tuple[str, str]]()
    for label in chosen:
        own = [line["text"] for line in lines if line["label"] == label]
        drawn = [own[i] for i in rng.permutation(len(own))[: n_shot + N_QUERY]]
        support += [(text, label) for text in drawn[:n_shot]]
        queries += [(text, label) for text in drawn[n_shot:]]
    return Asked(*map(list, zip(*support, strict=True)), *map(list, zip(*queries, strict=True)))  # pyright: ignore[reportArgumentType]


def ours(path: ServingPath, asked: Asked, *, hidden: bool) -> Answered:
    """From strings, as the service does it; with `hidden`, class names say nothing."""
    spec, began = path.served.manifest.input, time.process_time()
    assert isinstance(spec, TextSpec)
    classes = sorted(set(asked.labels))
    rows = [spec.read(text, Caps()) for text in asked.support]
    if not hidden:
        rows = [spec.with_name(row, label) for row, label in zip(rows, asked.labels, strict=True)]
    labels = np.array([classes.index(label) for label in asked.labels])
    adapted = path.adapt(path.features(np.stack(rows)), labels, len(classes))
    ready = time.process_time()
    queries = np.stack([spec.read(text, Caps()) for text in asked.queries])
    given = [classes[c] for c in path.logits(adapted, path.features(queries)).argmax(1)]
    return _answered(asked, given, began, ready, sum(tensor.nbytes for tensor in adapted.values()))


def means(support: Features, labels: NDArray[np.int64]) -> Fitted:
    """Cosine to class means of unit vectors."""
    sums = np.stack([support[labels == c].sum(0) for c in range(labels.max() + 1)])
    kept = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return lambda queries: (queries @ kept.T).argmax(1), kept.nbytes


def logistic_regression(support: Features, labels: NDArray[np.int64]) -> Fitted:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=10, max_iter=1000).fit(support, labels)
    return fitted.predict, fitted.coef_.nbytes + fitted.intercept_.nbytes


PLAIN = {"class means": means, "logistic regression": logistic_regression}


def on_embeddings(model: TorchModel, spec: TextSpec, asked: Asked) -> dict[str, Answered]:
    """What is made of the encoder as it came; its time is in all of them."""

    def embedded(texts: list[str]) -> tuple[Features, float]:
        began = time.process_time()
        features = model.features(np.stack([spec.read(text, Caps()) for text in texts]))
        return np.asarray(features[:, 0], np.float32), time.process_time() - began

    classes, found = sorted(set(asked.labels)), dict[str, Answered]()
    labels = np.array([classes.index(label) for label in asked.labels])
    (support, taught), (queries, read) = embedded(asked.support), embedded(asked.queries)
    for name, fit in PLAIN.items():
        began = time.process_time()
        predict, size = fit(support, labels)
        ready = time.process_time()
        given = [classes[c] for c in predict(queries)]
        answered = _answered(asked, given, began - taught, ready, size)
        found[name] = replace(answered, ms_a_query=answered.ms_a_query + 1000 * read / len(queries))
    return found


def setfit(folder: Path, asked: Asked) -> Answered:
    """Trains the encoder, a copy of it for each support set (Tunstall et al. 2022, arXiv:2209.11055)."""
    from datasets import Dataset  # pyright: ignore[reportMissingImports] - installed for this comparison alone
    from setfit import SetFitModel, Trainer, TrainingArguments  # pyright: ignore[reportMissingImports]

    classes, began = sorted(set(asked.labels)), time.process_time()
    model = SetFitModel.from_pretrained(str(folder))
    numbers = [classes.index(label) for label in asked.labels]
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(output_dir=scratch, report_to="none", show_progress_bar=False)
        given = Dataset.from_dict({"text": asked.support, "label": numbers})
        Trainer(model=model, args=arguments, train_dataset=given).train()
        ready = time.process_time()
        answers = model.predict(asked.queries)
        answered = _answered(asked, [classes[int(g)] for g in answers], began, ready, 0)
        model.save_pretrained(f"{scratch}/kept")
        size = sum(file.stat().st_size for file in Path(f"{scratch}/kept").rglob("*") if file.is_file())
    return replace(answered, bytes=size)


def adaptive_classifier(folder: Path, asked: Asked) -> Answered:
    """Prototypes and a head of two hidden layers on embeddings. The encoder is there before the clock starts, and
    what it brings is not counted."""
    from adaptive_classifier import AdaptiveClassifier  # pyright: ignore[reportMissingImports] - as above

    model = AdaptiveClassifier(str(folder), use_onnx=False)
    model.model, model.use_onnx = _one_thread(folder), True  # what it does by itself, on every core
    began = time.process_time()
    model.add_examples(asked.support, asked.labels)
    ready = time.process_time()
    given = [answers[0][0] for answers in model.predict_batch(asked.queries, k=1)]
    answered = _answered(asked, given, began, ready, 0)
    with tempfile.TemporaryDirectory() as kept:
        model.save(kept, include_onnx=False)
        size = sum((Path(kept) / name).stat().st_size for name in ("config.json", "examples.json", "model.safetensors"))
    return replace(answered, bytes=size)


@cache
def _one_thread(folder: Path) -> Any:
    """The encoder as adaptive-classifier runs it on a CPU."""
    from optimum.onnxruntime import ORTModelForFeatureExtraction  # pyright: ignore[reportMissingImports] - as above

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ORTModelForFeatureExtraction.from_pretrained(str(folder), export=True, session_options=options)


def _answered(asked: Asked, given: list[str], began: float, ready: float, size: int) -> Answered:
    """Just now."""
    milliseconds = 1000 * (time.process_time() - ready) / len(asked.queries)
    return Answered(float(np.mean(np.array(given) == asked.truth)), ready - began, milliseconds, size)


RIVALS = {"SetFit": (setfit, 5), "adaptive-classifier": (adaptive_classifier, 20)}
"""Each with the classes that it is asked about at most: of 100 examples SetFit makes 9,500 pairs, fifteen minutes of
one thread."""


def measure(data: Path, rival: str, out: Console) -> list[dict[str, Any]]:
    """A row for each method, setting and data set; all methods answer the same episodes."""
    published = Catalogue().resolve("text")
    path = ServingPath(
        ServedModel(published.folder, published.manifest), TorchModel.load(published.folder, published.manifest)
    )
    spec, reference = published.manifest.input, published.manifest.reference
    assert isinstance(spec, TextSpec)
    folder, plain = encoder_folder("all-MiniLM-L6-v2", data), plain_encoder(data)
    ask, most = RIVALS[rival]

    def answers(asked: Asked) -> dict[str, Answered]:
        return {
            reference: ours(path, asked, hidden=False),
            f"{reference}, names hidden": ours(path, asked, hidden=True),
            **on_embeddings(plain, spec, asked),
            **({rival: ask(folder, asked)} if len(set(asked.labels)) <= most else {}),
        }

    answers(draw(data, "banking77", 2, 2, EPISODES))  # what comes first in a process is slow
    rows = list[dict[str, Any]]()
    for n_way, n_shot in SETTINGS:
        for name, title in INTENTS.items():
            found: dict[str, list[Answered]] = {}
            for number in range(EPISODES):
                out.print(f"{title} {n_way}w{n_shot}s, episode {number + 1} of {EPISODES}", style="dim")
                for method, answer in answers(draw(data, name, n_way, n_shot, number)).items():
                    found.setdefault(method, []).append(answer)
            beside = found.get(rival)
            for method, given in found.items():
                table = np.array([list(asdict(answer).values()) for answer in given])
                more = 100 * (table[:, 0] - [answer.accuracy for answer in beside or given])
                accuracy, seconds, ms, size = table.mean(0)
                rows.append(
                    {
                        "rival": rival,
                        "classes": title,
                        "n_way": n_way,
                        "n_shot": n_shot,
                        "episodes": EPISODES,
                        "method": method,
                        "accuracy": round(100 * float(accuracy), 2),
                        "more_than_rival": round(float(more.mean()), 2) if beside else None,
                        "ci95": round(student_reach(more), 2) if beside else None,
                        "adapt_seconds": round(float(seconds), 3),
                        "ms_a_query": round(float(ms), 2),
                        "bytes": int(size),
                    }
                )
    others = [row for row in json.loads(RESULTS.read_text()) if row["rival"] != rival]
    RESULTS.write_text(json.dumps(others + rows, indent=1) + "\n")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("rival", choices=RIVALS)
    parser.add_argument("--data", type=Path, default=Path("data"))
    asked, out = parser.parse_args(), Console(width=160)
    torch.set_num_threads(1)
    rows = measure(asked.data, asked.rival, out)
    table = Table(*rows[0], box=None, header_style="dim")
    for row in rows:
        table.add_row(*map(str, row.values()))
    out.print(table)


if __name__ == "__main__":
    main()
