"""Where the environment names a proxy: none is asked for a server on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapter.config import Settings
from innerloop import Client
from innerloop.cli import show
from innerloop.embedded import Embedded
from tests.local_server import listening

EMPTY = json.dumps({"data": [], "has_more": False}).encode()


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a proxy is asked for, which answers as a server without models would."""
    asked: list[str] = []
    with listening(lambda method, path, headers, body: asked.append(path) or (200, {}, EMPTY)) as port:
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        yield asked


@pytest.fixture
def here() -> Iterator[int]:
    """The port of a server."""
    with listening(lambda *_: (200, {}, EMPTY)) as port:
        yield port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_client_goes_to_this_machine_itself(proxied: list[str], here: int, host: str) -> None:
    with Client(f"http://{host}:{here}", tries=1) as client:
        assert client.models() == []
    assert proxied == []


def test_the_client_goes_elsewhere_by_the_proxy(proxied: list[str]) -> None:
    with Client("http://innerloop.example", tries=1) as client:
        assert client.models() == []
    assert [path.split("?")[0] for path in proxied] == ["http://innerloop.example/v1/models"]


def test_a_server_that_starts_and_a_demo_that_looks_for_one_do_too(
    proxied: list[str], here: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Embedded(Settings(port=here, data_dir=tmp_path))._wait_until_ready()
    monkeypatch.setattr(show, "DEFAULT_URL", f"http://127.0.0.1:{here}")
    with show._server(None) as found:
        assert found == show.DEFAULT_URL
    assert proxied == []
