"""Whether there is room for another model, and somebody to adapt it. Scripts that write a job bound the queue."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
# (redis-py has no complete types)

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shutil import disk_usage

from adapter.errors import NoWorker, QueueFull
from adapter.redis_store import RedisStore, disk_full, out_of_memory

WORKER, WORKERS = "il:worker:", "il:workers"
WORKER_TTL_SECONDS = 15

WATERMARK = 0.9
"""Share of the record store's memory above which no new model is admitted."""

DISK_SHARE, DISK_BYTES = 0.05, 64 * 2**20
"""So much of its disk, or so many bytes where that is less, is kept free of new models: Redis answers the command that
fills the disk though its file did not take it, so the model would be accepted, and be gone after a `kill -9`."""

REMEMBERED_SECONDS = 0.5


@dataclass(frozen=True)
class Room:
    """What there was when the store was asked; `most_memory` is 0 where there is no limit."""

    workers: int
    memory: int
    most_memory: int


def queue_full(jobs: int) -> QueueFull:
    """The refusal of a job that comes when so many are open."""
    return QueueFull(f"{jobs} jobs are waiting, the most this server queues", retry_after=5)


class Admission(RedisStore):
    """Workers say that they live; whoever has a job asks whether it may come."""

    _found: Room | None = None
    _found_until = 0.0

    def beat(self, worker: str) -> None:
        """Say that this worker lives."""
        self.run("beat", [f"{WORKER}{worker}", WORKERS], [worker, WORKER_TTL_SECONDS])

    def retire(self, worker: str) -> None:
        """Say that this worker ends."""
        self.client.delete(f"{WORKER}{worker}")
        self.client.srem(WORKERS, worker)

    def room(self) -> Room:
        """What there is; costs the same however many models are kept."""
        return Room(*self.run("room", [WORKERS], [WORKER, WORKER_TTL_SECONDS * 1000]))

    def require_worker(self) -> None:
        """Refuse new jobs while nobody works.

        Raises:
            NoWorker: no worker said lately that it lives.
        """
        if not self._lately().workers:
            self._found = None
            raise NoWorker("no worker is running; start one with `innerloop worker`", retry_after=5)

    def require_room(self, size: int) -> None:
        """Refuse to keep `size` bytes more while the memory is nearly full, or the disk of our own Redis.

        Raises:
            StoreFull: try again later.
        """
        room = self._lately()
        if room.most_memory and room.memory > WATERMARK * room.most_memory:
            self._found = None
            raise out_of_memory()
        if self._disk and _nearly_full(self._disk, size):
            raise disk_full()

    @cached_property
    def _disk(self) -> Path | None:
        return self.settings.own_records

    def _lately(self) -> Room:
        """What there was half a second ago at most; whoever is refused forgets it."""
        found = self._found
        if found is None or time.monotonic() > self._found_until:
            self._found = found = self.room()
            self._found_until = time.monotonic() + REMEMBERED_SECONDS
        return found


def _nearly_full(folder: Path, size: int) -> bool:
    with suppress(OSError):  # whoever moved the folder away may have room
        disk = disk_usage(folder)
        return disk.free - size < min(DISK_SHARE * disk.total, DISK_BYTES)
    return False
