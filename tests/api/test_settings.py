"""Settings that touch each other, and what is said of wrong ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from adapter.config import Settings
from adapter.keys import keys_of_settings
from innerloop.cli.server import settings_of
from innerloop.embedded import Embedded, ServeError


def test_a_model_that_asks_for_no_life_gets_no_longer_one_than_may_be_asked_for() -> None:
    assert Settings().usual_ttl_seconds == 7 * 86400
    assert Settings(max_ttl_seconds=3600).usual_ttl_seconds == 3600


def test_a_key_that_nobody_hashed_is_not_shown() -> None:
    with pytest.raises(ValueError, match="entry 2 is not owner:sha256-of-key") as told:
        keys_of_settings(f"anna:{'0' * 64},me:topsecretkey")
    assert "topsecret" not in str(told.value)


@pytest.mark.parametrize(
    "given",
    [
        "*",
        "null",
        "app.example.org",
        "https://app.example.org/",
        "https://App.example.org",
        "https://app.example.org:443",
        "http://app.example.org:80",
        "http://app.example.org:080",
        "https://*.example.org",
        "https://a:b@example.org",
        "ftp://example.org",
        "http://a;http://b",
    ],
)
def test_origins_are_as_browsers_send_them(given: str) -> None:
    with pytest.raises(ValueError, match="is no origin as browsers send it; name each by"):
        Settings(allowed_origins=f"http://[::1]:3000, {given}")


def test_origins_are_read() -> None:
    origins = ["https://app.example.org", "http://localhost:3000", "http://[::1]:443", "http://xn--bcher-kva.example"]
    assert Settings(allowed_origins=" , ".join([*origins, ""])).origins == origins
    assert Settings().origins == []


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("host", " ", "INNERLOOP_HOST is empty; give an address"),
        ("device", "tpu", "INNERLOOP_DEVICE is 'tpu'; give auto, cpu, cuda, or cuda:1"),
        ("device", "cuda:one", "INNERLOOP_DEVICE is 'cuda:one'"),
        ("webhook_networks", "10.1.0.0/16,foo", "INNERLOOP_WEBHOOK_NETWORKS: 'foo' does not appear to be"),
        ("redis_url", "localhost:6379", "INNERLOOP_REDIS_URL begins with none of redis://, rediss:// and unix://"),
        ("redis_url", "http://:s3cret@localhost", "INNERLOOP_REDIS_URL begins with none of"),
        ("weights_redis_url", "redis://", "INNERLOOP_WEIGHTS_REDIS_URL begins with none of"),
        ("port", "http", "INNERLOOP_PORT is 'http': input should be a valid integer"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(name: str, given: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=name) as refused:
        Settings(**{name: given})  # pyright: ignore[reportArgumentType]
    monkeypatch.setenv(f"INNERLOOP_{name.upper()}", given)
    with pytest.raises(ValueError, match=re.escape(told)) as said:
        settings_of()
    assert "s3cret" not in f"{said.value}{refused.value}"


def test_what_can_be_is_taken() -> None:
    assert [Settings(device=device).device for device in ("auto", "cpu", "cuda", "cuda:1")]
    for url in (None, "", "redis://:s3cret@h:6379/0", "rediss://h", "unix:///run/redis.sock"):
        assert Settings(redis_url=url, weights_redis_url=url).redis_url == url


@pytest.mark.parametrize("url", ["redis://:s3cret@127.0.0.1:1/0", "localhost:6379"])
def test_records_that_cannot_be_reached_are_told_in_a_line(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNERLOOP_REDIS_URL", url)
    command = [sys.executable, "-m", "innerloop", "keys", "list"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert len(ran.stderr.splitlines()) <= 3
    assert "Traceback" not in ran.stderr
    assert "s3cret" not in ran.stdout + ran.stderr


def test_a_cache_of_ones_own_wants_records_of_ones_own(tmp_path: Path) -> None:
    settings = Settings(port=0, data_dir=tmp_path, weights_redis_url="redis://127.0.0.1:1/0")
    with pytest.raises(ServeError, match="set both, or neither"), Embedded(settings):
        pass
