"""A process of this interpreter that one can speak with: a line of JSON and then bytes, both ways.

It ends with whoever started it, since its standard input ends then.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import IO, Any

Child = subprocess.Popen[bytes]


def start(module: str) -> Child:
    """Run a module as a process."""
    return subprocess.Popen(  # noqa: S603 - a module of ours
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # decoders complain there of each damaged frame
    )


def pipes(child: Child) -> tuple[IO[bytes], IO[bytes]]:
    """Where to write to it and to read from it."""
    assert child.stdin is not None  # noqa: S101 - for the type checker
    assert child.stdout is not None  # noqa: S101
    return child.stdin, child.stdout


def send(to: IO[bytes], about: dict[str, Any], *data: bytes | memoryview) -> None:
    """One message: what it is about, and bytes."""
    to.write(json.dumps({**about, "bytes": sum(map(len, data))}).encode() + b"\n")
    for part in data:
        to.write(part)
    to.flush()


def receive(source: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """One message.

    Raises:
        ValueError: there is nothing more, or not all of it.
    """
    about = json.loads(source.readline())
    size = about.pop("bytes")
    data = source.read(size)
    if len(data) < size:
        raise ValueError(f"expected {size} bytes, found {len(data)}")
    return about, data


def end(child: Child) -> None:
    """Let it end by itself, or see to it after a second."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:  # what was not sent yet has nowhere to go
                continue
    try:
        child.wait(1)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
