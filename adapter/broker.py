"""Celery's transport on Redis, with one thing mended: an acknowledgement that fails must not stop a worker for good."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportIncompatibleVariableOverride=false
# (kombu has no complete types)

from __future__ import annotations

from kombu.transport import TRANSPORT_ALIASES, redis, virtual


class QoS(redis.QoS):
    """What was delivered and not yet acknowledged.

    Celery logs an acknowledgement that Redis did not take, and goes on. kombu 5.7 still counts that message: a worker
    that prefetches one then never asks for another, has no connection left that could be seen to break, and looks
    healthy. The record says whether a job is done, so here the message is forgotten; Redis delivers it again, and
    nothing comes of it.
    """

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        try:
            super().reject(delivery_tag, requeue)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise


class Channel(redis.Channel):
    QoS = QoS


class Transport(redis.Transport):
    Channel = Channel


def install() -> None:
    """Have Celery use this transport wherever an address begins with `redis` or `rediss`."""
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport"))
