"""A service of its own for every test that breaks one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapter.config import Settings
from innerloop.embedded import Embedded
from tests.faults.victim import Victim


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    """A running service whose parts may be killed."""
    with (
        Embedded(Settings(port=0, data_dir=tmp_path)) as running,
        httpx.Client(base_url=running.url, timeout=90, transport=httpx.HTTPTransport(retries=5)) as http,
    ):
        yield Victim(running, http)
