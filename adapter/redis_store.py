"""What every store on Redis shares: how to connect, how keys are called, how scripts run."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import OutOfMemoryError
from redis.retry import Retry

from adapter.config import Settings
from adapter.errors import StoreFull

LUA = Path(__file__).parent / "lua"

DONE_CHANNEL = "il:done"
JOBS = "il:jobs"
QUEUE = "il-jobs"
"""Celery's list of messages."""
MESSAGES = "il:webhooks"
TALLY = "il:tally"
OWNERS = "il:owners"

IDEMPOTENCY_MS = 86_400_000
"""How long an idempotency key is remembered."""

TOMBSTONE_MS = 86_400_000
"""An expired model answers 410 for this long, then 404; its record is stored until then, outside every quota."""

GRACE_MS = 2_000
"""A job that no worker claimed for this long gets another nudge."""


def connect(url: str, timeout: float = 3.0) -> redis.Redis:
    """A client that outlives a restart of Redis: retried for about two seconds, every command idempotent."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        health_check_interval=5,
        retry=Retry(ExponentialBackoff(cap=0.4, base=0.02), 8),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError],
    )


class RedisStore:
    """A client and the scripts of `lua/`, each of which makes one change in one step."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self.client = client
        self.settings = settings
        prelude = (LUA / "prelude.lua").read_text()
        self._scripts = {
            path.stem: client.register_script(prelude + path.read_text())
            for path in LUA.glob("*.lua")
            if path.stem != "prelude"
        }

    def run(self, script: str, keys: list[str], arguments: list[Any]) -> Any:
        """Run one of the scripts.

        Raises:
            StoreFull: Redis is out of memory.
        """
        try:
            return self._scripts[script](keys=keys, args=arguments)
        except OutOfMemoryError as error:
            raise StoreFull("the store of models is full; delete models or raise its memory", retry_after=30) from error


def record_key(owner: str, record_id: str) -> str:
    return f"il:{owner}:model:{record_id}"


def support_key(owner: str, record_id: str) -> str:
    return f"il:{owner}:support:{record_id}"


def events_key(owner: str, record_id: str) -> str:
    """One stream for all versions of a model."""
    return f"il:{owner}:events:{record_id.partition('.')[0]}"


def webhooks_key(owner: str, record_id: str) -> str:
    """Who is told of a model, all versions."""
    return f"il:{owner}:webhooks:{record_id.partition('.')[0]}"


def idempotency_key(owner: str, key: str, model_id: str = "") -> str:
    """What a client's key stands for: of new models, or of changes of one model."""
    told = f"{model_id}/{key}" if model_id else key
    return f"il:{owner}:idempotency:{hashlib.sha256(told.encode()).hexdigest()}"


def stored_keys(owner: str) -> list[str]:
    """The models an owner has, by the end of their life, and how large they are."""
    return [f"il:{owner}:stored", f"il:{owner}:sizes"]


def now_ms() -> int:
    return int(time.time() * 1000)
