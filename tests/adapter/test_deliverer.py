"""The thread that sends to webhooks, on a real Redis: what goes wrong with one message, or once, ends it for none."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import formatdate
from threading import Event
from typing import Any
from unittest.mock import Mock

import pytest
import redis

from adapter.config import Settings
from adapter.deliverer import AT_A_TIME, SECONDS_EACH, SHARE, Deliverer, wait_seconds
from adapter.errors import StoreFull
from adapter.outbound import Reach
from adapter.redis_store import MESSAGES
from adapter.store import Records
from adapter.webhooks import Messages, Webhook
from tests.adapter.test_webhooks import finish, told
from tests.faults.victim import until
from tests.receiver import SECRET, Receiver, receiving, silent


@pytest.fixture
def messages(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Messages:
    monkeypatch.setattr("adapter.deliverer.PERIOD_SECONDS", 0.02)
    return Messages(client, Settings())


@pytest.fixture
def deliverer(messages: Messages) -> Iterator[Deliverer]:
    """Not started yet."""
    deliverer = Deliverer(messages, Reach("127.0.0.1"))
    yield deliverer
    deliverer.stop()


@pytest.fixture
def receiver(records: Records) -> Iterator[Receiver]:
    """One who is to be told of a model that is ready."""
    with receiving() as receiver:
        finish(records, told(records, webhook=Webhook(receiver.url, SECRET)))
        yield receiver


def test_outlives_a_full_store(
    messages: Messages, deliverer: Deliverer, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = messages.due(10)
    monkeypatch.setattr(messages, "due", Mock(side_effect=[StoreFull("full"), waiting, *[[]] * 10_000]))
    deliverer.start()
    until(lambda: not messages.client.exists(MESSAGES))
    assert len(receiver.got) == 1


def test_outlives_a_message_that_cannot_be_read(messages: Messages, deliverer: Deliverer, receiver: Receiver) -> None:
    messages.client.hset(f"{MESSAGES}:msg_odd", "attempts", 1)
    messages.client.zadd(MESSAGES, {"msg_odd": 0})
    deliverer.start()
    until(lambda: not messages.client.keys(f"{MESSAGES}*"))
    assert len(receiver.got) == 1


def test_a_secret_that_cannot_sign_is_an_attempt_that_failed(
    messages: Messages, deliverer: Deliverer, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    [message] = messages.due(10)
    odd = replace(message, secret="whsec_?")  # noqa: S106
    monkeypatch.setattr(messages, "due", Mock(side_effect=[[odd], *[[]] * 10_000]))
    deliverer.start()
    until(lambda: messages.client.hget(f"{MESSAGES}:{message.id}", "attempts") == b"1")
    assert receiver.got == []


@pytest.mark.parametrize("as_date", [False, True])
def test_it_is_sent_again_when_the_receiver_says(
    messages: Messages, deliverer: Deliverer, receiver: Receiver, as_date: bool
) -> None:
    at = time.time() + 300
    receiver.answers, receiver.headers["Retry-After"] = [503], formatdate(at, usegmt=True) if as_date else "300"
    deliverer.start()
    # No sooner than asked for, and later by a tenth at most.
    until(lambda: messages.client.zcount(MESSAGES, 1000 * at - 2000, 1000 * at + 35_000) == 1)


@pytest.mark.parametrize("said", ["", "soon", "-5", "1.5", "Wed, 32 Oct 2015 07:28:00 GMT", "9" * 30 + " Oct 2015"])
def test_a_time_that_is_none_changes_nothing(said: str) -> None:
    assert wait_seconds(said, datetime.now(UTC)) == 0


def test_a_time_that_is_over_changes_nothing() -> None:
    assert wait_seconds("Wed, 21 Oct 2015 07:28:00 GMT", datetime.now(UTC)) == 0
    assert wait_seconds("Wed, 21 Oct 2015 07:28:00 -0000", datetime(2015, 10, 21, 7, tzinfo=UTC)) == 1680


def assert_others_are_told(records: Records, deliverer: Deliverer, url: str) -> None:
    """However much is to be sent to this one first."""
    with receiving() as receiver:
        for n in range(2 * AT_A_TIME):
            finish(records, told(records, f"sha256:{n}", Webhook(f"{url}{n}", SECRET)))
        finish(records, told(records, "sha256:last", Webhook(receiver.url, SECRET)))
        began = time.monotonic()
        deliverer.start()
        until(lambda: bool(receiver.got))
        assert time.monotonic() - began < SECONDS_EACH / 2


def test_a_receiver_that_never_answers_holds_up_no_other(records: Records, deliverer: Deliverer) -> None:
    with silent() as (url, asked):
        assert_others_are_told(records, deliverer, url)
        until(lambda: asked() >= SHARE)
        assert asked() == SHARE


def test_an_owner_whose_receivers_never_answer_holds_up_no_other(records: Records, deliverer: Deliverer) -> None:
    with ExitStack() as stack:
        silents = [stack.enter_context(silent()) for _ in range(AT_A_TIME // SHARE)]
        for n in range(2 * SHARE):
            [model_id] = {told(records, f"sha256:{n}", Webhook(url, SECRET)) for url, _ in silents}
            finish(records, model_id)
        receiver = stack.enter_context(receiving())
        finish(records, told(records, webhook=Webhook(receiver.url, SECRET), owner="bob"), owner="bob")
        began = time.monotonic()
        deliverer.start()
        until(lambda: bool(receiver.got))
        assert time.monotonic() - began < SECONDS_EACH / 2
        until(lambda: sum(asked() for _, asked in silents) >= AT_A_TIME // 2)
        assert sum(asked() for _, asked in silents) == AT_A_TIME // 2


def test_a_name_that_nobody_resolves_holds_up_no_other(
    records: Records, deliverer: Deliverer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, over = socket.getaddrinfo, Event()

    def slowly(host: str, *more: Any, **others: Any) -> Any:
        if host == "slow.example":
            over.wait(2 * SECONDS_EACH)
        return resolve(host, *more, **others)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    try:
        assert_others_are_told(records, deliverer, "http://slow.example/")
    finally:
        over.set()
