"""What `innerloop serve` does about parts that end, and what it and they write down."""

from __future__ import annotations

import logging
import os
import re
import signal
from pathlib import Path

import httpx
import pytest

from adapter.config import Settings
from innerloop.embedded import Embedded
from tests.faults.victim import Victim, children, quick, until

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING|ERROR) \d+ [\w.]+: .+")


def test_a_part_that_cannot_be_started_is_tried_again(victim: Victim, caplog: pytest.LogCaptureFixture) -> None:
    worker, logs = victim.part("worker"), victim.part("worker").log.parent
    logs.rename(logs.with_name("logs.old"))
    logs.touch()  # in the way of the folder
    with caplog.at_level(logging.WARNING, "innerloop.serve"):
        assert worker.process is not None
        worker.process.kill()
        until(lambda: "could not be started again" in caplog.text)
        logs.unlink()
        until(lambda: "it was started again" in caplog.text)
    assert "worker was ended by signal 9 (Killed); it was started again" in caplog.text
    assert worker.log.exists()
    victim.all_ready([victim.adapt_later(quick(90))])


def test_children_of_a_killed_api_leave_the_port(tmp_path: Path) -> None:
    settings = Settings(port=0, data_dir=tmp_path, api_processes=2)
    with Embedded(settings) as running, httpx.Client(base_url=running.url, timeout=90) as http:
        victim = Victim(running, http)
        api = victim.part("api")
        before = victim.adapt_later(quick(91))
        assert api.process is not None
        left = children(api.process.pid)
        assert len(left) >= 2
        os.kill(api.process.pid, signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in left))
        victim.all_ready([before])
        assert len(api.deaths) == 1, api.log_tail()


def test_api_and_worker_say_when_and_who(victim: Victim) -> None:
    victim.kill("redis-records")
    for part, logger in (("api", "innerloop.waiter"), ("worker", "celery.worker")):
        log = victim.part(part).log
        until(lambda log=log, logger=logger: logger in log.read_text())
        first = log.read_text().splitlines()[0]  # no banner, no remark on the user
        assert LINE.fullmatch(first), first
