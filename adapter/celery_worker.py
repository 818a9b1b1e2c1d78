"""The worker's process: Celery with its one task, its heartbeat, and how it starts, hears signals and ends."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (Celery has no complete types)

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from typing import Any

from celery import Celery
from celery.signals import (
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from adapter.config import Settings
from adapter.notice import Notice
from adapter.queue import ADAPT, celery_app
from adapter.store import Records
from adapter.worker import Worker
from meta_models.memory import kept_for_good

log = logging.getLogger("innerloop.worker")


def make_app(settings: Settings, notice: Notice) -> Celery:
    """The worker's Celery application with its task and life signals."""
    app = celery_app(settings.records_url, socket_timeout=3)
    held: list[Worker] = []
    parent = os.getpid()

    def start(**_: object) -> None:
        try:
            with kept_for_good():
                held.append(Worker(settings, notice))
        except Exception as error:  # Celery would go on, and hand jobs to a process that cannot do them
            log.error("this worker cannot adapt: %s", error, exc_info=not isinstance(error, ValueError))
            notice.fail()
            if os.getpid() != parent:
                os.kill(parent, signal.SIGTERM)
            raise SystemExit(1) from error
        # From here on this process can adapt: `/readyz` may say so.
        threading.Thread(target=_beat, args=(held[0].records,), name="heartbeat", daemon=True).start()

    def end(**_: object) -> None:
        if held:
            held[0].records.retire(_name())

    worker_shutting_down.connect(notice.give, weak=False)
    worker_ready.connect(_hear_signals, weak=False)
    worker_process_init.connect(start, weak=False)
    worker_process_shutdown.connect(end, weak=False)
    worker_shutdown.connect(end, weak=False)  # of a process that adapts by itself

    @app.task(name=ADAPT)
    def adapt_job(job: str) -> None:  # pyright: ignore[reportUnusedFunction]
        held[0].run(job)

    return app


def _beat(records: Records) -> None:
    while True:
        try:
            records.beat(_name())
        except Exception as error:  # whatever it is, nothing else says that this worker lives
            log.warning("heartbeat: %s", error)
        time.sleep(3)


def _hear_signals(sender: Any, **_: object) -> None:
    """Celery's loop sleeps on through a signal, up to a second: a byte that comes with it wakes it."""
    woken, waking = socket.socketpair()
    for end in (woken, waking):
        end.setblocking(False)
    sender.hub.add_reader(woken, woken.recv, 64)
    signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
    sender.waking = woken, waking  # live on, also where a lost connection empties the loop


def _name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def main(settings: Settings) -> None:
    """Run a worker until it is told to stop, or cannot adapt: SystemExit then.

    One process adapts by itself: a job that is handed on to a child has one more process to wake.
    """
    alone, notice = settings.worker_processes == 1, Notice()
    make_app(settings, notice).worker_main(
        [
            "--quiet",  # no banner
            "worker",
            f"--pool={'solo' if alone else 'prefork'}",
            f"--concurrency={settings.worker_processes}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel=WARNING",
        ]
    )
    if notice.failed:
        raise SystemExit(1)
