"""Decodes sounds in a process of its own: a file that crashes the decoder, or makes it eat, harms that file alone.

    with Apart() as decode:
        samples, rate = decode(data, caps)

A process is started by the first sound, kept for the next ones, and ends with the one that started it.
"""

from __future__ import annotations

import queue
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from meta_models.inputs import child
from meta_models.inputs.audio_file import decode
from meta_models.inputs.reading import Caps, UnreadableInput

SECONDS = 20.0
"""Until a process that decodes is ended: a hundred times what the largest sound takes."""

MEMORY = 512 * 2**20
"""Bytes that decoding may add to a process: several times what the largest sound takes."""


class Apart:
    """A decoder like `audio_file.decode`. Safe to share between threads: as many processes as sounds at a time."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._idle: queue.LifoQueue[child.Child] = queue.LifoQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def __call__(self, data: bytes, caps: Caps) -> tuple[NDArray[np.float32], int]:
        """A whole sound file.

        Returns:
            (n_samples,) mean of the channels, full scale is 1, and the samples a second.

        Raises:
            UnreadableInput: what is wrong with it, a crash included.
        """
        try:
            process = self._idle.get_nowait()
        except queue.Empty:
            return self._by(child.start(__name__), data, caps)
        try:
            return self._by(process, data, caps)
        except _DecoderDied:  # perhaps of something else: a new one shows
            return self._by(child.start(__name__), data, caps)

    def _by(self, process: child.Child, data: bytes, caps: Caps) -> tuple[NDArray[np.float32], int]:
        timer = threading.Timer(self._seconds, process.kill)
        timer.start()
        try:
            found = _ask(process, data, caps)
        except (OSError, ValueError) as error:
            child.end(process)
            raise _DecoderDied(
                "undecodable_audio", "the sound is damaged: its decoder crashes or never ends"
            ) from error
        finally:
            timer.cancel()
        self._idle.put(process)
        if isinstance(found, UnreadableInput):
            raise found
        return found

    def close(self) -> None:
        """End all idle processes; one that works ends after its sound."""
        while not self._idle.empty():
            child.end(self._idle.get())


class _DecoderDied(UnreadableInput):
    """In the middle of a sound."""


def _ask(process: child.Child, data: bytes, caps: Caps) -> tuple[NDArray[np.float32], int] | UnreadableInput:
    to, source = child.pipes(process)
    child.send(to, asdict(caps), data)
    about, answer = child.receive(source)
    if "code" in about:
        return UnreadableInput(**about)
    return np.frombuffer(answer, np.float32), about["rate"]


def main() -> None:
    """Decode what comes on standard input until it ends."""
    import resource

    import soundfile

    _ = soundfile.available_formats()  # loads the library before memory is bounded
    if (usage := Path("/proc/self/statm")).exists():
        most = int(usage.read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, to = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            caps, data = child.receive(source)
        except ValueError:  # nobody asks any more
            return
        try:
            samples, rate = decode(data, Caps(**caps))
        except UnreadableInput as error:
            child.send(to, {"code": error.code, "detail": str(error), "status": error.status}, b"")
        else:
            child.send(to, {"rate": rate}, np.ascontiguousarray(samples, np.float32).data.cast("B"))


if __name__ == "__main__":
    main()
