"""A webhook that could not be delivered survives kill -9 of who sends it and of who keeps it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import standardwebhooks

from adapter.config import Settings
from innerloop.embedded import Embedded
from tests.e2e.test_webhooks import attempts
from tests.faults.victim import Victim, quick, until
from tests.receiver import SECRET, receiving, unused_port


def test_a_message_survives_the_death_of_api_and_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNERLOOP_WEBHOOK_NETWORKS", "127.0.0.1")
    port = unused_port()
    with (
        Embedded(Settings(port=0, data_dir=tmp_path)) as running,
        httpx.Client(base_url=running.url, timeout=90, transport=httpx.HTTPTransport(retries=5)) as http,
    ):
        victim = Victim(running, http)
        webhook = {"url": f"http://127.0.0.1:{port}/", "secret": SECRET}
        model_id = victim.adapt_later({**quick(90), "webhook": webhook})
        until(lambda: bool(attempts(http, f"/v1/models/{model_id}")))
        victim.kill("api")
        victim.kill("redis-records")
        with receiving(port) as receiver:
            until(lambda: bool(receiver.got))
            headers, body = receiver.got[0]
            assert standardwebhooks.Webhook(SECRET).verify(body, headers)["data"]["id"] == model_id
