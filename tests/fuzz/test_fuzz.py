"""The service holds to its OpenAPI document: the short form of `make fuzz`."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.run import fuzz


def test_generated_requests_find_nothing(tmp_path: Path) -> None:
    """No 5xx, no answer that is not documented, nothing of another key: every check of schemathesis."""
    found = fuzz(tmp_path, seed=1, examples=2)
    assert not found.failures, found.output
    assert found.cases > 500
