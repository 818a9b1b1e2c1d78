"""What adapting costs, kept as lines of a file. Times compare where one run measured them, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from meta_models import jsonl

FILE = "costs.jsonl"
"""Beside the log of points."""


@dataclass(frozen=True)
class Cost:
    """What adapting to 20 classes of one example costs in one process.

    Attributes:
        adapt_ms: median, body included.
        predict_ms: median of one query through the graphs.
        adapted_bytes: of the adapted tensors.
        run: when the run began that measured it, which names it.
    """

    meta_model: str
    adapt_ms: float
    predict_ms: float
    adapted_bytes: int
    run: str = ""

    @property
    def name(self) -> str:
        """Of the meta-model, whatever its version."""
        return self.meta_model.partition("@")[0]


def record(path: Path, measured: Sequence[Cost]) -> list[Cost]:
    """Write what one run measured in place of what is there of these meta-models; what is there then.

    Raises:
        ValueError: a line of the file is damaged.
    """
    costs = {cost.name: cost for cost in (*(Cost(**line) for line in jsonl.read(path)), *measured)}
    kept = [costs[name] for name in sorted(costs)]
    jsonl.write(path, map(asdict, kept))
    return kept


def common_run(costs: Iterable[Cost]) -> str:
    """The run that measured most of them, of several such the last one."""
    runs = Counter(cost.run for cost in costs)
    return max(runs, key=lambda run: (runs[run], run), default="")
