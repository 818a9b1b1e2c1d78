"""Real parts for every test: Redis servers, and one whole service for the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapter.config import Settings
from innerloop.embedded import Embedded
from meta_models.catalogue import Catalogue


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """Redis twice, a worker and the API, as `innerloop serve` runs them."""
    folder: Path = tmp_path_factory.mktemp("server")
    with Embedded(Settings(port=0, data_dir=folder)) as running:
        yield running


@pytest.fixture(scope="session")
def photo_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A folder with a meta-model of photographs, as long as none is published."""
    if "photo" in Catalogue().aliases:
        return None
    from tests.photo_stand_in import publish_stand_in

    folder = tmp_path_factory.mktemp("zoo")
    publish_stand_in(folder)
    return folder


@pytest.fixture(scope="session")
def photo_server(
    photo_zoo: Path | None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Embedded]:
    """A service that knows photographs: the session's, or one of its own."""
    if photo_zoo is None:
        yield request.getfixturevalue("server")
        return
    folder = tmp_path_factory.mktemp("photo-server")
    with Embedded(Settings(port=0, data_dir=folder, meta_models_dir=photo_zoo)) as running:
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
