"""Pictures read by several processes: the same answers as by one, whatever becomes of the others."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from meta_models.inputs import Caps, DrawingSpec, PhotoSpec, UnreadableInput, crew
from meta_models.inputs.crew import MANY, Crew, Seen, Spec, see
from tests.drawings import blank, png
from tests.photos import jpeg

SPECS: dict[str, Spec] = {"drawing": DrawingSpec(), "photo": PhotoSpec()}


def pictures(n: int) -> list[bytes]:
    """Drawings and photographs, and some that are none."""
    broken = [b"", b"hello", png(0, 0)[:60], blank()]
    return [broken[i % 4] if i % 7 == 3 else jpeg(i, 0) if i % 3 == 0 else png(i, 0) for i in range(n)]


def comparable(seen: Seen | UnreadableInput) -> object:
    if isinstance(seen, UnreadableInput):
        return (seen.code, str(seen), seen.status)
    return seen.look, {
        kind: comparable(found) if isinstance(found, UnreadableInput) else found.tolist()
        for kind, found in seen.fitted.items()
    }


def wait_for(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not there():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def started() -> Iterator[Crew]:
    """Two processes that are ready."""
    with Crew(2) as made:
        made.look(pictures(MANY), SPECS, Caps())
        wait_for(lambda: len(made._idle) == 2)
        processes = list(made._idle)
        yield made
    assert all(one.poll() is not None for one in processes)


@pytest.mark.parametrize("all_kinds", [False, True])
@pytest.mark.parametrize("n", [0, 1, MANY, MANY + 9])
def test_the_same_as_alone(started: Crew, n: int, all_kinds: bool) -> None:
    files = pictures(n)
    found = started.look(files, SPECS, Caps(), all_kinds=all_kinds)
    alone = [see(file, SPECS, Caps(), all_kinds=all_kinds) for file in files]
    assert [comparable(one) for one in found] == [comparable(one) for one in alone]


def test_the_limits_hold_there_too(started: Crew) -> None:
    found = started.look([png(i, 0) for i in range(MANY)], SPECS, Caps(image_pixels=99))
    assert {one.code for one in found if isinstance(one, UnreadableInput)} == {"image_too_large"}
    assert len(found) == MANY


def test_others_do_read(started: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    here: list[bytes] = []
    files = [png(i, 0) for i in range(3 * MANY)]
    monkeypatch.setattr(crew, "see", lambda content, *rest, **more: here.append(content) or see(content, *rest, **more))
    started.look(files, SPECS, Caps())
    assert here == files[::3]


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_does_not_answer_is_replaced(
    started: Crew, sign: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = pictures(MANY)
    lost = started._idle[0]
    os.kill(lost.pid, sign)
    with monkeypatch.context() as hasty:
        hasty.setattr(crew, "PATIENCE", 0.5)
        found = started.look(files, {"drawing": DrawingSpec()}, Caps())
    assert [comparable(one) for one in found] == [
        comparable(see(file, {"drawing": DrawingSpec()}, Caps())) for file in files
    ]
    assert lost.poll() is not None
    started.look(files, SPECS, Caps())
    wait_for(lambda: len(started._idle) == 2)
    assert lost not in started._idle


def test_none_that_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Crew(2) as alone:
        for _ in range(3):
            assert len(alone.look(pictures(MANY), SPECS, Caps())) == MANY
            wait_for(lambda: alone._running == 0)


@pytest.mark.parametrize("name", ["start", "threads"])
def test_none_for_a_while(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a process nor a thread is to be had; later they are."""

    def none(*args: object, **more: object) -> None:
        raise BlockingIOError if name == "start" else RuntimeError("can't start new thread")

    with Crew(2) as short, monkeypatch.context() as now:
        now.setattr(*((crew.child, "start") if name == "start" else (threading.Thread, "start")), none)
        assert len(short.look(pictures(MANY), SPECS, Caps())) == MANY
        wait_for(lambda: short._running == 0)
        now.undo()
        short.look(pictures(MANY), SPECS, Caps())
        wait_for(lambda: len(short._idle) == 2)
        now.setattr(threading.Thread, "start", none)
        if name == "threads":
            assert len(short.look(pictures(MANY), SPECS, Caps())) == MANY
            assert short._running == 0


def test_a_request_that_breaks_loses_none_for_good(started: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*args: object, **more: object) -> None:
        raise MemoryError

    with monkeypatch.context() as now:
        now.setattr(crew, "see", breaks)
        with pytest.raises(MemoryError):
            started.look(pictures(MANY), SPECS, Caps())
    started.look(pictures(MANY), SPECS, Caps())
    wait_for(lambda: len(started._idle) == 2)


def test_from_many_threads(started: Crew) -> None:
    files = [png(i, 0) for i in range(MANY)]
    alone = [comparable(see(file, SPECS, Caps())) for file in files]
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: started.look(files, SPECS, Caps()), range(12)):
            assert [comparable(one) for one in found] == alone
