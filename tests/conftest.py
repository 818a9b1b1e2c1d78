"""Real parts for every test: Redis servers, and one whole service for the session."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapter.config import Settings
from innerloop.embedded import Embedded

# Before torch is imported, here and in what tests start: with a thread on every core, one that waits for a server
# beside it holds up the others.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # noqa: TID251


LONGEST = ("test_command_line.py", "test_docs.py", "test_kill.py", "test_keys.py", "test_publish.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest first, so that at the end no process works on one of them while others have nothing
    to do."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_collection_finish() -> None:
    """What the tests' imports brought is there until the end: collections need not look through it each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def one_day() -> None:
    """For tests of what is counted by the day (UTC): it does not end in their midst."""
    left = 86_400 - time.time() % 86_400
    if left < 30:
        time.sleep(left + 0.1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """Redis twice, a worker and the API, as `innerloop serve` runs them."""
    folder: Path = tmp_path_factory.mktemp("server")
    with Embedded(Settings(port=0, data_dir=folder)) as running:
        yield running


@pytest.fixture
def http(server: Embedded) -> Iterator[httpx.Client]:
    """An HTTP client of that service."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def module_http(server: Embedded) -> Iterator[httpx.Client]:
    """The same, for fixtures that live as long as a file's tests."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client
