"""A real HTTP server on loopback that webhooks are sent to."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from tests.local_server import listening

SECRET = "whsec_" + "c2VjcmV0" * 4


@dataclass
class Receiver:
    """What arrived, and what is answered: each status once, the last one from then on."""

    port: int
    answers: list[int] = field(default_factory=lambda: [204])
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?a=b"


@contextmanager
def receiving(port: int = 0, *answers: int, headers: dict[str, str] | None = None) -> Iterator[Receiver]:
    """A receiver for as long as it is wanted."""
    receiver = Receiver(port, list(answers) or [204], headers or {})

    def answer(method: str, path: str, sent: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        receiver.got.append(({name.lower(): value for name, value in sent.items()}, body))
        status = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
        return status, receiver.headers, b""

    with listening(answer, port) as receiver.port:
        yield receiver


@contextmanager
def silent() -> Iterator[tuple[str, Callable[[], int]]]:
    """One who takes connections and never answers: its URL, and how many it has been asked for so far."""
    held: list[socket.socket] = []

    def asked() -> int:
        with suppress(BlockingIOError):
            while True:
                held.append(server.accept()[0])
        return len(held)

    with socket.create_server(("127.0.0.1", 0), backlog=1000) as server, ExitStack() as stack:
        server.setblocking(False)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/", asked
        for connection in held:
            stack.enter_context(connection)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]
