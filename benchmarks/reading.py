"""Reading many pictures on every core beside reading them in one process, in turn, in one run.

python -m benchmarks.reading
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.latency import clock
from meta_models.inputs import Caps, DrawingSpec, PhotoSpec
from meta_models.inputs.crew import Crew, Spec

RESULTS = Path(__file__).parent / "results" / "reading.json"
ROUNDS = 20


def drawing(rng: np.random.Generator) -> bytes:
    """Strokes on 105 x 105 pixels, PNG."""
    page = np.full((105, 105), 255, np.uint8)
    for x, y, length in rng.integers(10, 60, (6, 3)):
        page[y : y + 3, x : x + length] = 0
    return _file(page, "PNG")


def photograph(rng: np.random.Generator) -> bytes:
    """Twelve megapixels of smooth colours, JPEG, as a telephone takes them."""
    coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    return _file(np.asarray(coarse.resize((4000, 3000), Image.Resampling.BICUBIC)), "JPEG")


def _file(pixels: np.ndarray, format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


def main() -> None:
    """Measure and write the table."""
    rng = np.random.default_rng(0)
    cases: list[tuple[str, list[bytes], dict[str, Spec]]] = [
        ("100 drawings", [drawing(rng) for _ in range(100)], {"drawing": DrawingSpec()}),
        ("25 drawings", [drawing(rng) for _ in range(25)], {"drawing": DrawingSpec()}),
        ("10 photographs", [photograph(rng) for _ in range(10)], {"photo": PhotoSpec()}),
    ]
    rows: list[dict[str, object]] = []
    with Crew(0) as alone, Crew() as crew:
        for what, files, specs in cases:
            times: list[tuple[float, float]] = []
            for _ in range(ROUNDS + 3):  # the first start the processes
                by = [clock(lambda c=c, f=files, s=specs: c.look(f, s, Caps()))[0] for c in (alone, crew)]
                times.append((by[0], by[1]))
            kept = np.array(times[3:])
            one, all_cores = np.median(kept, axis=0)
            ratio = float(np.median(kept[:, 0] / kept[:, 1]))
            rows.append(
                {
                    "what": what,
                    "cores": os.cpu_count(),
                    "alone_p50_ms": round(float(one), 1),
                    "crew_p50_ms": round(float(all_cores), 1),
                    "ratio": round(ratio, 2),
                }
            )
    table = Table("", "cores", "one process, ms", "all cores, ms", "times as fast", box=None)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
