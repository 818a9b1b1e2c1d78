"""Celery's transport on Redis without its book of messages in delivery: the records are that book."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportIncompatibleVariableOverride=false
# pyright: reportUnknownVariableType=false
# (kombu has no complete types)

from __future__ import annotations

from typing import Any

from kombu.connection import Connection as KombuConnection
from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, ResponseError
from redis.retry import Retry


class QoS(virtual.QoS):
    """What a worker has in hand, known to that worker alone, so that it takes no more than it can do.

    kombu writes every message into a second place before the task sees it, and takes it out again afterwards, in case
    the worker dies in between. Here a record says whether a job is done, and the reaper sends another message where
    nobody works on one; so neither trip to Redis is needed, nor can one fail.
    """

    restore_at_shutdown = False


class Channel(redis.Channel):
    QoS = QoS

    def close(self) -> None:
        """At once: kombu would wait up to a second for the next message, which nobody would take any more."""
        if self._in_poll:
            self._in_poll.disconnect()
            self._in_poll = None
        super().close()

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """Once more, over another connection, where the master of before a failover takes nothing."""
        params: dict[str, Any] = super()._connparams(asynchronous)
        return {**params, "retry": Retry(NoBackoff(), 1, supported_errors=(ReadOnlyError,))}

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except ResponseError as error:
            if str(error).startswith("UNBLOCKED"):  # it is no master any more
                raise ReadOnlyError(str(error)) from error
            raise


class Transport(redis.Transport):
    Channel = Channel
    connection_errors = (*redis.Transport.connection_errors, ReadOnlyError)
    """A worker connects anew, and does not end, where the master of before a failover takes nothing."""


class Connection(KombuConnection):
    def ensure_connection(self, *args: Any, **kwargs: Any) -> KombuConnection:
        """Tried every second: kombu would wait 2 s longer each time, up to 30, while `/readyz` already says `ready`."""
        return super().ensure_connection(*args, interval_start=1, interval_max=1, **kwargs)


def install() -> None:
    """Have Celery use this transport wherever an address begins with `redis` or `rediss`."""
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport"))
