"""`make fuzz`: requests generated from the OpenAPI document against a real service, checked by schemathesis.

Every check, stateful too, until so many cases were generated; each round has another seed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from adapter.config import Settings
from innerloop.embedded import Embedded

ROOT = Path(__file__).parents[2]
OWNERS = ("ann", "ben")
LARGEST_ROUND = 100
"""Examples of an operation; schemathesis adds the cases of its other phases."""


@dataclass(frozen=True)
class Round:
    """What one run of schemathesis found; `output` is what it printed."""

    seed: int
    cases: int
    failures: int
    output: str


def fuzz(folder: Path, seed: int, examples: int) -> Round:
    """Start a service in `folder` and ask it `examples` things of each operation, at least.

    Raises:
        RuntimeError: schemathesis itself failed, or did not reach every operation.
    """
    keys = {owner: secrets.token_hex(16) for owner in OWNERS}
    api_keys = ",".join(f"{owner}:{hashlib.sha256(key.encode()).hexdigest()}" for owner, key in keys.items())
    (folder / "users.json").write_text(
        json.dumps(
            {
                "auth": [
                    {"name": owner, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {key}"}]}
                    for owner, key in keys.items()
                ]
            }
        )
    )
    # The committed document says that keys may be off; here they are on.
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    for operation in (o for methods in document["paths"].values() for o in methods.values()):
        if "security" in operation:
            operation["security"].remove({})
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "schemathesis.toml").write_text((ROOT / "tests" / "fuzz" / "schemathesis.toml").read_text())
    report = folder / "report.json"
    with Embedded(Settings(port=0, data_dir=folder / "data", api_keys=api_keys)) as server:
        ran = subprocess.run(
            [
                *(Path(sys.executable).with_name("schemathesis"), "run", "openapi.json", "--url", server.url),
                *("--checks", "all", "--max-examples", str(examples), "--seed", str(seed), "--no-color"),
                *("--report", "json", "--report-json-path", report, "--generation-database", "none"),
            ],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},  # noqa: TID251 - handed on, not read
            capture_output=True,
            text=True,
            check=False,
        )
    output = ran.stdout + ran.stderr
    if not report.exists():
        raise RuntimeError(f"schemathesis failed:\n{output}")
    found = json.loads(report.read_text())
    operations, cases = found["operations"], found["test_cases"]
    if found["errors"] or operations["tested"] != operations["total"]:
        raise RuntimeError(f"schemathesis did not get through:\n{output}")
    return Round(seed, cases["generated"], cases["unique_failures"], output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="requests to generate, at least")
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    asked = parser.parse_args()
    cases = failures = 0
    seed = asked.seed
    while cases < asked.cases:
        with tempfile.TemporaryDirectory(prefix="innerloop-fuzz-") as folder:
            found = fuzz(Path(folder), seed, LARGEST_ROUND)
        cases, failures, seed = cases + found.cases, failures + found.failures, seed + 1
        if found.failures:
            print(found.output)
        print(f"seed {found.seed}: {found.cases} cases, {found.failures} failures; {cases} cases so far", flush=True)
    print(f"{cases} cases, {failures} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
