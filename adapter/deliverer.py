"""Sends what is due to the webhooks, from a thread with an event loop of its own: a receiver that is slow, or a name
that takes long to resolve, holds up no request."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore

from adapter.outbound import AddressRefusedError, CheckedBackend, Reach
from adapter.webhooks import Attempt, Message, Messages

log = logging.getLogger("innerloop.webhooks")

PERIOD_SECONDS = 0.5
AT_A_TIME = 64
SHARE = 8
"""Of one receiver in those: one that never answers holds up itself alone. An owner gets half of them at most."""

SECONDS_EACH = 20.0
"""For a name, a connection, the request and the head of the answer together."""


class Deliverer:
    """Of one API process; among all of them each message goes to one."""

    def __init__(self, messages: Messages, reach: Reach) -> None:
        self._messages, self._reach = messages, reach
        self._stop = threading.Event()
        self._wake: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Messages under way are sent again after their lease."""
        self._stop.set()
        with contextlib.suppress(RuntimeError):  # its loop is over already
            self._wake()
        self._thread.join(timeout=5)

    async def _run(self) -> None:
        loop, awake = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(awake.set)
        under_way: set[asyncio.Task[None]] = set()
        # A name that takes long to resolve keeps a thread, even after its message's time is over.
        loop.set_default_executor(ThreadPoolExecutor(2 * AT_A_TIME, "webhooks"))
        async with httpcore.AsyncConnectionPool(
            max_connections=AT_A_TIME, max_keepalive_connections=0, network_backend=CheckedBackend(self._reach)
        ) as pool:
            while not self._stop.is_set():
                awake.clear()
                try:
                    ids = [task.get_name() for task in under_way]
                    due = await asyncio.to_thread(self._messages.due, AT_A_TIME - len(ids), SHARE, ids)
                except Exception as error:  # whatever it is, later messages need this thread
                    log.warning("what is due could not be read: %r", error)
                    due = []
                for message in due:
                    task = asyncio.create_task(self._deliver(pool, message), name=message.id)
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                    task.add_done_callback(lambda _: awake.set())
                await asyncio.sleep(PERIOD_SECONDS / 10)
                with contextlib.suppress(TimeoutError):  # until a place is free
                    await asyncio.wait_for(awake.wait(), PERIOD_SECONDS)
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _deliver(self, pool: httpcore.AsyncConnectionPool, message: Message) -> None:
        attempt = await send(pool, message)
        try:
            outcome = await asyncio.to_thread(self._messages.note, message, attempt, random.random())  # noqa: S311
        except Exception as error:  # its lease ends, and it is sent again
            log.warning("%s: what became of it could not be noted: %r", message.id, error)
            return
        if outcome == "gave_up":
            log.warning("%s for model %s was given up: %s", message.id, message.model, attempt.detail)


async def send(pool: httpcore.AsyncConnectionPool, message: Message) -> Attempt:
    """One attempt. Any 2xx is success; redirects are not followed, 410 ends the attempts."""
    try:
        headers = [
            *message.headers(datetime.now(UTC)).items(),
            ("Content-Type", "application/json"),
            ("User-Agent", "innerloop-webhooks"),
        ]
        async with asyncio.timeout(SECONDS_EACH):
            answer = pool.stream("POST", message.url, headers=headers, content=message.body.encode())
            async with answer as response:
                status, given = response.status, {name.lower(): value for name, value in response.headers}
    except AddressRefusedError as error:
        return Attempt(False, detail=str(error), final=True)
    except TimeoutError:
        return Attempt(False, detail=f"no answer within {SECONDS_EACH:g} s")
    except Exception as error:  # no address, no TLS, a secret that cannot sign …: whatever it is, this attempt failed
        return Attempt(False, detail=f"{type(error).__name__}: {error}"[:200])
    if 200 <= status < 300:
        return Attempt(True, status)
    return Attempt(
        False,
        status,
        detail=f"the receiver answered {status}",
        final=status == 410,
        wait_seconds=wait_seconds(given.get(b"retry-after", b"").decode("latin-1"), datetime.now(UTC)),
    )


def wait_seconds(retry_after: str, now: datetime) -> float:
    """What `Retry-After` asks for, in seconds or as a date (RFC 9110, section 10.2.3); 0 where it says neither."""
    if re.fullmatch("[0-9]+", retry_after):
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())
