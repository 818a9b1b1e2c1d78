"""The nudge that a script puts into the queue is the one that Celery would send; a lost broker is looked for often."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

import pytest
import redis
from kombu.exceptions import OperationalError

from adapter.queue import Publisher, celery_app
from adapter.redis_store import QUEUE

JOB = "local/mdl_x"
OWN = {"id", "root_id", "origin", "correlation_id", "delivery_tag", "reply_to"}
"""Different in every message, or in every process."""


def told(message: bytes) -> dict[str, Any]:
    """A message without what is its own, its body read."""
    read = json.loads(message)
    properties = {k: v for k, v in read["properties"].items() if k not in OWN}
    headers = {k: v for k, v in read["headers"].items() if k not in OWN}
    assert read["headers"]["id"] == read["properties"]["correlation_id"]
    return {**read, "body": json.loads(base64.b64decode(read["body"])), "properties": properties, "headers": headers}


def test_says_what_celery_says(client: redis.Redis, redis_url: str) -> None:
    publisher = Publisher(redis_url)
    assert publisher.nudge(JOB)
    [sent] = cast("list[bytes]", client.lrange(QUEUE, 0, -1))
    made = publisher.message(JOB)
    publisher.close()
    assert told(made) == told(sent)
    assert told(made)["body"][0] == [JOB]
    assert json.loads(made).keys() == json.loads(sent).keys()
    for part in ("properties", "headers"):
        assert json.loads(made)[part].keys() == json.loads(sent)[part].keys()


def test_the_database_that_the_records_are_in_is_the_one_of_the_messages(client: redis.Redis, redis_url: str) -> None:
    publisher = Publisher(f"{redis_url}?db=3")
    assert publisher.nudge(JOB)
    publisher.close()
    assert not client.llen(QUEUE)
    assert redis.Redis.from_url(f"{redis_url}?db=3").llen(QUEUE) == 1


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1?db=5", "redis://127.0.0.1:1/4?db=5", "redis://127.0.0.1:1/5"])
def test_a_database_behind_a_question_mark_is_one_for_celery_too(url: str) -> None:
    with celery_app(url, socket_timeout=1) as app, app.connection_for_read() as connection:
        assert (connection.hostname, connection.port, connection.virtual_host) == ("127.0.0.1", 1, "5")


def test_a_worker_looks_for_a_lost_broker_every_second() -> None:
    app, waits = celery_app("redis://127.0.0.1:1/0", socket_timeout=1), list[float]()
    with app.connection_for_read() as connection, pytest.raises(OperationalError):
        connection.ensure_connection(lambda _, wait: waits.append(wait), 2)
    app.close()
    assert waits == [1, 1]
