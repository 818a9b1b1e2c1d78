"""What every store on Redis shares: how to connect, how keys are called, how scripts run."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import OutOfMemoryError
from redis.retry import Retry

from adapter.config import Settings
from adapter.errors import StoreFull

T = TypeVar("T")

LUA = Path(__file__).parent / "lua"

DONE_CHANNEL = "il:done"
JOBS = "il:jobs"
QUEUE = "il-jobs"
"""Celery's list of messages."""
MESSAGES = "il:webhooks"
TALLY = "il:tally"
OWNERS = "il:owners"

IDEMPOTENCY_MS = 86_400_000
"""How long an idempotency key is remembered, while its owner sends no more others than `lua/prelude.lua` keeps."""

TOMBSTONE_MS = 86_400_000
"""An expired model answers 410 for this long, then 404; its record is stored until then, outside every quota."""

GRACE_MS = 2_000
"""A job that no worker claimed for this long gets another nudge."""


class _Patience(Retry):
    """Tries that end once `SECONDS` have gone by: a server that takes connections and does not answer costs as long as
    its timeouts, not as many of them as there are tries."""

    SECONDS = 5.0

    def call_with_retry(self, do: Callable[[], T], fail: Callable[..., Any], *args: Any, **kwargs: Any) -> T:
        until = time.monotonic() + self.SECONDS

        def failed(error: Exception, *count: int) -> None:
            fail(error, *count)
            if time.monotonic() > until:
                raise error

        return super().call_with_retry(do, failed, *args, **kwargs)


def connect(url: str, timeout: float = 3.0) -> redis.Redis:
    """A client that outlives a restart of Redis: retried for about two seconds, every command idempotent."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        health_check_interval=5,
        retry=_Patience(ExponentialBackoff(cap=0.4, base=0.02), 8),
        # One that only reads was the master before a failover: another connection leads to whoever is now.
        retry_on_error=[redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError],
    )


def connect_once(url: str, timeout: float = 1.0) -> redis.Redis:
    """A client that does not try again: for whoever asks whether Redis answers at all."""
    return redis.Redis.from_url(
        url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0), retry_on_timeout=False
    )


def out_of_memory() -> StoreFull:
    """The refusal of what the records' Redis has no memory for."""
    return StoreFull("the store of models is full; delete models or raise its memory", retry_after=30)


def disk_full() -> StoreFull:
    """The refusal of what would take the last room on the disk of the records' Redis."""
    return StoreFull("the disk that the store of models writes to is nearly full; make room on it", retry_after=30)


def full(error: redis.RedisError) -> StoreFull | None:
    """What an error says of room, in memory or on disk; None where it says something else.

    Redis 6 words what it refuses a script as an error of the script.
    """
    if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in str(error):
        return out_of_memory()
    if "MISCONF" in str(error):
        return StoreFull("the store of models cannot write to its disk, which may be full", retry_after=30)
    return None


def only_reads(error: redis.RedisError) -> bool:
    """Whether an error says that its Redis is no master any more; Redis 6 words it as it does what `full` is about."""
    return isinstance(error, redis.ReadOnlyError) or "-READONLY" in str(error)


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
            StoreFull: Redis is out of memory, or cannot write to its disk.
        """
        try:
            return self._scripts[script](keys=keys, args=arguments)
        except redis.ResponseError as error:
            if only_reads(error):
                self.client.connection_pool.disconnect(inuse_connections=False)
            raise full(error) or error from error


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
    """By this machine's clock. Leases, and what else must agree among machines, take the scripts' Redis time."""
    return int(time.time() * 1000)
