"""Celery's settings and the nudge. The record in Redis is the truth; a message only says "look at this job"."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (Celery has no complete types)

from __future__ import annotations

import base64
import json
import logging
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis
from celery import Celery
from celery.app.amqp import task_message
from kombu.exceptions import OperationalError
from kombu.utils.uuid import uuid

from adapter import broker
from adapter.redis_store import QUEUE

ADAPT = "innerloop.adapt"

log = logging.getLogger("innerloop.queue")


def celery_app(records_url: str, *, socket_timeout: float) -> Celery:
    """One Celery application; publishers use a short `socket_timeout`, workers a longer one."""
    broker.install()
    app = Celery("innerloop", broker=_broker(records_url), set_as_current=False)
    app.amqp.Connection = broker.Connection
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=True,  # a job in hand counts until it is done, or a process would take the next one meanwhile
        task_default_queue=QUEUE,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        # Importing torch and opening the meta-models takes a child longer than the default 4 s.
        worker_proc_alive_timeout=120,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": socket_timeout,
            "socket_connect_timeout": socket_timeout,
            "health_check_interval": 5,
        },
    )
    return app


class Publisher:
    """Sends nudges; a broker that is silent costs four seconds at most, for which kombu tries to connect."""

    def __init__(self, records_url: str) -> None:
        self._app = celery_app(records_url, socket_timeout=1)

    def message(self, job: str) -> bytes:
        """The nudge as Celery would put it into `QUEUE`, for a script that writes the job in the same step: Celery's
        second protocol in kombu's envelope for Redis.
        """
        task = cast(task_message, self._app.amqp.as_task_v2(uuid(), ADAPT, args=[job], ignore_result=True))
        envelope: dict[str, Any] = {
            "body": base64.b64encode(json.dumps(task.body).encode()).decode(),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": task.headers,
            "properties": {
                **task.properties,
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": QUEUE},
                "delivery_mode": 2,
                "delivery_tag": uuid(),
                "priority": 0,
            },
        }
        return json.dumps(envelope).encode()

    def nudge(self, job: str) -> bool:
        """Tell a worker about a job. False where the broker did not answer: the reaper will try again."""
        try:
            self._app.send_task(ADAPT, args=[job], retry=False, ignore_result=True)
        except (OperationalError, redis.RedisError, OSError) as error:
            log.warning("nudge for %s failed, the reaper will repeat it: %s", job, error)
            return False
        return True

    def close(self) -> None:
        self._app.close()


def _broker(url: str) -> str:
    """Celery names a Unix socket, and a database behind a question mark, differently from redis-py."""
    address, _, query = url.partition("?")
    given = dict(parse_qsl(query))
    db = given.pop("db", "")
    if address.startswith("unix://"):
        address = "redis+socket://" + address.removeprefix("unix://")
        if db:
            given["virtual_host"] = db
    elif db:
        address = urlsplit(address)._replace(path=f"/{db}").geturl()
    return f"{address}?{urlencode(given)}" if given else address
