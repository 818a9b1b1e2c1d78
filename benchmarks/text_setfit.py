"""Beside SetFit (Tunstall et al. 2022, arXiv:2209.11055): same encoder, same texts, accuracy and seconds in one run.

SetFit trains the encoder for each support set, with its own defaults; the text meta-model adapts as the service does,
from strings to adapted tensors, and answers with the same threads.

    pip install setfit
    python -m benchmarks.text_setfit --data data
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from meta_models.catalogue import Catalogue
from meta_models.inputs import Caps, TextSpec
from meta_models.pretrained import encoder_folder
from meta_models.serving import ServedModel
from meta_models.serving_path import ServingPath
from meta_models.text_sources import FOLDS_FILE, INTENTS, read_file, read_lines
from meta_models.torch_model import TorchModel

EPISODES = ((5, 5, 5, True), (20, 5, 5, False))
"""(n_way, n_shot, episodes of each data set, whether SetFit is asked): of 100 examples it makes 9,500 pairs, fifteen
minutes of one thread."""
N_QUERY, SEED = 15, 21
RESULTS = Path(__file__).parent / "results" / "text_setfit.json"


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
    spec, began = path.served.manifest.input, time.perf_counter()
    assert isinstance(spec, TextSpec)
    classes = sorted(set(asked.labels))
    rows = [spec.read(text, Caps()) for text in asked.support]
    if not hidden:
        rows = [spec.with_name(row, label) for row, label in zip(rows, asked.labels, strict=True)]
    labels = np.array([classes.index(label) for label in asked.labels])
    adapted = path.adapt(path.features(np.stack(rows)), labels, len(classes))
    ready = time.perf_counter()
    queries = np.stack([spec.read(text, Caps()) for text in asked.queries])
    given = path.logits(adapted, path.features(queries)).argmax(1)
    answered = time.perf_counter()
    right = np.mean([classes[g] == t for g, t in zip(given, asked.truth, strict=True)])
    size = sum(tensor.nbytes for tensor in adapted.values())
    return Answered(float(right), ready - began, 1000 * (answered - ready) / len(queries), size)


def setfit(folder: Path, asked: Asked) -> Answered:
    """With the defaults of its trainer."""
    from datasets import Dataset  # pyright: ignore[reportMissingImports] - installed for this comparison alone
    from setfit import SetFitModel, Trainer, TrainingArguments  # pyright: ignore[reportMissingImports]

    classes, began = sorted(set(asked.labels)), time.perf_counter()
    model = SetFitModel.from_pretrained(str(folder))
    numbers = [classes.index(label) for label in asked.labels]
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(output_dir=scratch, report_to="none", show_progress_bar=False)
        given = Dataset.from_dict({"text": asked.support, "label": numbers})
        Trainer(model=model, args=arguments, train_dataset=given).train()
        ready = time.perf_counter()
        answers = model.predict(asked.queries)
        answered = time.perf_counter()
        model.save_pretrained(f"{scratch}/kept")
        size = sum(file.stat().st_size for file in Path(f"{scratch}/kept").rglob("*") if file.is_file())
    right = np.mean([classes[int(g)] == t for g, t in zip(answers, asked.truth, strict=True)])
    return Answered(float(right), ready - began, 1000 * (answered - ready) / len(asked.queries), size)


def measure(data: Path, out: Console) -> list[dict[str, Any]]:
    published = Catalogue().resolve("text")
    path = ServingPath(
        ServedModel(published.folder, published.manifest), TorchModel.load(published.folder, published.manifest)
    )
    folder, rows = encoder_folder("all-MiniLM-L6-v2", data), list[dict[str, Any]]()
    for n_way, n_shot, episodes, beside in EPISODES:
        for name, title in INTENTS.items():
            found: dict[str, list[Answered]] = {}
            for number in range(episodes):
                out.print(f"{title} {n_way}w{n_shot}s, episode {number + 1} of {episodes}", style="dim")
                asked = draw(data, name, n_way, n_shot, number)
                reference = published.manifest.reference
                found.setdefault(reference, []).append(ours(path, asked, hidden=False))
                found.setdefault(f"{reference}, names hidden", []).append(ours(path, asked, hidden=True))
                if beside:
                    found.setdefault("SetFit", []).append(setfit(folder, asked))
            theirs = np.array([answer.accuracy for answer in found.get("SetFit", [])] or [float("nan")])
            for method, answers in found.items():
                table = np.array([list(asdict(answer).values()) for answer in answers])
                more = 100 * (table[:, 0] - theirs)
                error = 1.96 * more.std(ddof=1) / len(more) ** 0.5
                accuracy, seconds, ms, size = table.mean(0)
                rows.append(
                    {
                        "classes": title,
                        "n_way": n_way,
                        "n_shot": n_shot,
                        "episodes": episodes,
                        "method": method,
                        "accuracy": round(100 * float(accuracy), 2),
                        "more_than_setfit": round(float(more.mean()), 2) if beside else None,
                        "ci95": round(float(error), 2) if beside else None,
                        "adapt_seconds": round(float(seconds), 3),
                        "ms_a_query": round(float(ms), 2),
                        "bytes": int(size),
                    }
                )
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    asked, out = parser.parse_args(), Console(width=160)
    torch.set_num_threads(1)
    rows = measure(asked.data, out)
    table = Table(*rows[0], box=None, header_style="dim")
    for row in rows:
        table.add_row(*map(str, row.values()))
    out.print(table)


if __name__ == "__main__":
    main()
