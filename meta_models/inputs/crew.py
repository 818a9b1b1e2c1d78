"""Many pictures at once, on every core: processes that read pictures beside this one.

    with Crew() as crew:
        seen = crew.look(files, {"drawing": DrawingSpec()}, Caps())

Most of a small picture's time is the interpreter's, so threads would wait for one another. The first pictures that are
worth it start the processes, without waiting for them. What a process cannot read, or never answers, is read here: what
is wrong with a picture is said in one place.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from meta_models.inputs import Caps, DrawingSpec, PhotoSpec, Picture, UnreadableInput, child
from meta_models.inputs.drawing import looks_drawn
from meta_models.threads import cores

MOST = 3
"""Processes beside this one: each holds about 50 MB, besides the picture that it reads."""

MANY, LARGE = 16, 2**20
"""Pictures, or bytes of them, that are worth asking others."""

PATIENCE = 2.0
"""Seconds until a process that keeps others waiting is ended, beside three times what they took themselves."""

Spec = DrawingSpec | PhotoSpec

_SPECS = TypeAdapter(dict[str, Spec])


@dataclass(frozen=True)
class Seen:
    """A picture as it was read.

    Attributes:
        look: the kind that it looks like.
        fitted: by kind, one example (channels, height, width), or why it is none.
    """

    look: str
    fitted: dict[str, NDArray[np.uint8] | UnreadableInput]


def see(content: bytes, specs: Mapping[str, Spec], caps: Caps, *, all_kinds: bool = False) -> Seen | UnreadableInput:
    """A picture file as the kind among `specs` that it looks like reads it, or as all of them do; or why it is none."""
    try:
        pixels = Picture.decode(content, caps)
    except UnreadableInput as error:
        return error
    look = next(iter(specs)) if len(specs) == 1 else "drawing" if looks_drawn(pixels) else "photo"
    fitted: dict[str, NDArray[np.uint8] | UnreadableInput] = {}
    for kind in specs if all_kinds else (look,):
        try:
            fitted[kind] = specs[kind].fit(pixels)
        except UnreadableInput as error:
            fitted[kind] = error
    return Seen(look, fitted)


class Crew:
    """Reads pictures. Safe to share between threads: who finds all processes at work does its own."""

    def __init__(self, size: int | None = None) -> None:
        """`size` processes beside this one; unless given, one for each other core."""
        self._size = min(cores() - 1, MOST) if size is None else size
        self._idle: list[child.Child] = []
        self._running, self._closed, self._lock = 0, False, threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def look(
        self, contents: Sequence[bytes], specs: Mapping[str, Spec], caps: Caps, *, all_kinds: bool = False
    ) -> list[Seen | UnreadableInput]:
        """`see` of each."""
        helpers = self._take() if _worth(contents) else []
        found: list[Seen | UnreadableInput | None] = [None] * len(contents)
        step, began = len(helpers) + 1, time.monotonic()
        try:
            for i, one in enumerate(helpers, start=1):
                _ask(one, contents[i::step], specs, caps, all_kinds)
            for i in range(0, len(contents), step):
                found[i] = see(contents[i], specs, caps, all_kinds=all_kinds)
            patience = PATIENCE + 3 * (time.monotonic() - began)  # this process had as many to read
            for i in range(1, step):
                found[i::step] = self._answers(helpers[0], patience, specs) or found[i::step]
                del helpers[0]
        finally:
            for one in helpers:  # what they were asked is not waited for
                self._lose(one)
        return [
            see(content, specs, caps, all_kinds=all_kinds) if seen is None else seen
            for content, seen in zip(contents, found, strict=True)
        ]

    def close(self) -> None:
        """End all processes; one that works ends after its pictures."""
        with self._lock:
            self._closed, idle = True, self._idle
            self._idle = []
        for one in idle:
            child.end(one)

    def _take(self) -> list[child.Child]:
        """All that are idle; those that are missing are started for the next pictures."""
        with self._lock:
            taken, self._idle = self._idle, []
            missing = 0 if self._closed else max(0, self._size - self._running)
            self._running += missing
        for _ in range(missing):
            try:
                threading.Thread(target=self._start, name="crew", daemon=True).start()
            except RuntimeError:  # no thread is to be had
                self._one_less()
        return taken

    def _start(self) -> None:
        try:
            one = child.start(__name__)
        except OSError:
            self._one_less()
            return
        try:
            child.receive(child.pipes(one)[1])  # it is ready
        except (OSError, ValueError):
            self._lose(one)
        else:
            self._keep(one)

    def _keep(self, one: child.Child) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(one)
                return
        child.end(one)

    def _lose(self, one: child.Child) -> None:
        one.kill()
        child.end(one)
        self._one_less()

    def _one_less(self) -> None:
        with self._lock:
            self._running -= 1

    def _answers(self, one: child.Child, patience: float, specs: Mapping[str, Spec]) -> list[Seen | None]:
        """What it saw, None of what it could not read; nothing where it died or took more than `patience` seconds."""
        try:
            with _bounded(one, patience):
                about, data = child.receive(child.pipes(one)[1])
        except (OSError, ValueError):
            self._lose(one)
            return []
        examples = memoryview(data)
        found: list[Seen | None] = []
        for seen in about["seen"]:
            fitted: dict[str, NDArray[np.uint8] | UnreadableInput] = {}
            for kind in seen["kinds"] if seen else ():
                shape = specs[kind].shape
                fitted[kind] = np.frombuffer(examples, np.uint8, math.prod(shape)).reshape(shape)
                examples = examples[math.prod(shape) :]
            found.append(Seen(seen["look"], fitted) if seen else None)
        self._keep(one)
        return found


def _ask(one: child.Child, contents: Sequence[bytes], specs: Mapping[str, Spec], caps: Caps, all_kinds: bool) -> None:
    about = {
        "sizes": [len(content) for content in contents],
        "specs": {kind: spec.model_dump(mode="json") for kind, spec in specs.items()},
        "caps": asdict(caps),
        "all_kinds": all_kinds,
    }
    with contextlib.suppress(OSError), _bounded(one, PATIENCE):  # where it died there will be no answer either
        child.send(child.pipes(one)[0], about, *contents)


@contextlib.contextmanager
def _bounded(one: child.Child, seconds: float) -> Iterator[None]:
    """End a process that takes too long."""
    timer = threading.Timer(seconds, one.kill)
    try:
        timer.start()
    except RuntimeError:  # no thread is to be had; nothing may wait without end
        one.kill()
    try:
        yield
    finally:
        timer.cancel()


def _worth(contents: Sequence[bytes]) -> bool:
    return len(contents) >= MANY or (len(contents) > 1 and sum(map(len, contents)) >= LARGE)


def main() -> None:
    """Read pictures that come on standard input until it ends."""
    source, to = sys.stdin.buffer, sys.stdout.buffer
    child.send(to, {})
    while True:
        try:
            about, data = child.receive(source)
        except ValueError:  # nobody asks any more
            return
        specs, caps = _SPECS.validate_python(about["specs"]), Caps(**about["caps"])
        told: list[dict[str, object] | None] = []
        examples: list[memoryview] = []
        start = 0
        for size in about["sizes"]:
            seen = see(data[start : start + size], specs, caps, all_kinds=about["all_kinds"])
            start += size
            arrays = [] if isinstance(seen, UnreadableInput) else list(seen.fitted.values())
            if isinstance(seen, UnreadableInput) or any(isinstance(array, UnreadableInput) for array in arrays):
                told.append(None)
                continue
            told.append({"look": seen.look, "kinds": list(seen.fitted)})
            examples += [np.ascontiguousarray(array).data.cast("B") for array in arrays]
        child.send(to, {"seen": told}, *examples)


if __name__ == "__main__":
    main()
