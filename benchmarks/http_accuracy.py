"""Few-shot accuracy as a client sees it: PNG files through HTTP, one `POST /v1/classify` an episode.

The episodes are the first of those behind the figures in the model cards (same seed), so the two must agree.

    python -m benchmarks.http_accuracy --data data
"""

from __future__ import annotations

import argparse
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import track

from adapter.config import Settings
from benchmarks.omniglot import TestClasses, test_classes
from innerloop.client import Client
from innerloop.embedded import Embedded
from meta_models.benchmark import N_QUERY, TEST_SEED
from meta_models.episodes import EpisodeSpec, sample_episode
from meta_models.evaluate import Accuracy

RUNS = (
    # meta-model, protocol, n_way, n_shot, within one alphabet, turned
    ("omniglot-protonet", "L", 20, 1, True, False),
    ("omniglot-protonet", "L", 5, 1, True, False),
    ("omniglot-protonet-vinyals", "V rotated", 20, 1, False, True),
    ("omniglot-protonet-vinyals", "V rotated", 5, 5, False, True),
    ("omniglot-maml", "L", 20, 1, True, False),
)
RESULTS = Path(__file__).parent / "results" / "http_accuracy.json"


def one_episode(client: Client, name: str, classes: TestClasses, spec: EpisodeSpec, number: int) -> float:
    """Accuracy of one episode; a rejected query counts by its best guess."""
    episode = sample_episode(classes.pool, spec, TEST_SEED, number)
    answer = client.classify(classes.support(episode), classes.queries(episode), meta_model=name, top_k=1)
    guesses = [int(result["scores"][0]["label"]) for result in answer["results"]]
    return sum(g == i // spec.n_query for i, g in enumerate(guesses)) / len(guesses)


def main() -> None:
    """Run every setting and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--only", default="", help="run meta-models whose name contains this")
    arguments = parser.parse_args()
    console = Console()
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    with (
        tempfile.TemporaryDirectory() as folder,
        Embedded(Settings(port=0, data_dir=Path(folder))) as server,
        Client(server.url) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        for name, protocol, n_way, n_shot, within, turned in RUNS:
            if arguments.only not in name:
                continue
            classes = test_classes(name, arguments.data, turned=turned)
            spec = EpisodeSpec(n_way, n_shot, N_QUERY, within_group=float(within))
            scores = pool.map(
                lambda number, n=name, c=classes, s=spec: one_episode(client, n, c, s, number),
                range(arguments.episodes),
            )
            title = f"{name} {protocol} {n_way}w{n_shot}s"
            accuracy = Accuracy.of(list(track(scores, title, total=arguments.episodes, console=console)))
            row = {"meta_model": name, "protocol": protocol, "n_way": n_way, "n_shot": n_shot, "n_query": N_QUERY}
            rows = [r for r in rows if any(r[key] != row[key] for key in row)]
            row |= {"episodes": accuracy.n_episodes, "seed": TEST_SEED, "inductive": True}
            row |= {"accuracy": round(100 * accuracy.mean, 2), "ci95": round(100 * accuracy.ci95, 2)}
            rows.append(row)
            console.print(f"{title}: {accuracy}")
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
