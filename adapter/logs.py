"""One shape of log line for the API, the worker and `innerloop serve`: UTC time, level, process, logger, message."""

from __future__ import annotations

import logging
import time
import warnings
from logging.config import dictConfig
from typing import Any


class Utc(logging.Formatter):
    """Times as `2026-01-31T12:00:00.123Z`."""

    converter = time.gmtime
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": Utc, "fmt": "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "WARNING", "handlers": ["stderr"]},
    "loggers": {"innerloop": {"level": "INFO"}},
}
"""For `logging.config.dictConfig`, and for uvicorn, which sets up each of its processes with it."""


def set_up() -> None:
    """This process writes such lines to standard error."""
    dictConfig(LOGGING)


def set_up_worker() -> None:
    """The same where Celery runs, which would set up a format of its own."""
    from celery.signals import setup_logging  # pyright: ignore[reportMissingTypeStubs] - it has none

    set_up()
    setup_logging.connect(_done, weak=False)  # pyright: ignore[reportUnknownMemberType]
    # Of a user that may do anything, at each start: tasks are JSON, and nothing in them is run.
    warnings.filterwarnings("ignore", "You're running the worker with superuser privileges")


def _done(**_: object) -> None:
    """A receiver of the signal is what keeps Celery from setting up anything."""
