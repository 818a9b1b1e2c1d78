"""Addresses that strangers name: what is refused, and that what was checked is what is connected to."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from typing import Any

import httpcore
import pytest

from adapter.outbound import AddressRefusedError, CheckedBackend, Reach
from tests.receiver import receiving

PRIVATE = [
    "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",  # noqa: S104
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1",
    "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "64:ff9b:1::1", "::7f00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    "2001:db8::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_out_of_reach(address: str) -> None:
    assert not Reach("").includes(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_within_reach(address: str) -> None:
    assert Reach("").includes(ip_address(address))


def test_the_operator_may_allow_networks_and_nothing_else() -> None:
    reach = Reach("10.1.0.0/16, fd00:1::/32 ,127.0.0.1")
    for address in ("10.1.2.3", "fd00:1::5", "127.0.0.1", "::ffff:10.1.2.3", "8.8.8.8"):
        assert reach.includes(ip_address(address)), address
    for address in ("10.2.0.1", "127.0.0.2", "169.254.169.254", "::1"):
        assert not reach.includes(ip_address(address)), address
    with pytest.raises(ValueError, match="INNERLOOP_WEBHOOK_NETWORKS"):
        Reach("localhost")


def post(url: str, reach: Reach) -> int:
    async def sent() -> int:
        async with httpcore.AsyncConnectionPool(network_backend=CheckedBackend(reach)) as pool:
            return (await pool.request("POST", url, content=b"{}")).status

    return asyncio.run(sent())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])
def test_every_spelling_of_loopback_is_refused_before_a_connection(host: str) -> None:
    with receiving() as receiver:
        with pytest.raises(AddressRefusedError):
            post(f"http://{host}:{receiver.port}/", Reach(""))
        assert receiver.got == []


def resolve_to(patch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names resolve to each of these in turn; addresses to themselves. The names that were asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name != "rebinding.example":
            return real(host, port, *args, **kwargs)
        asked.append(name)
        found = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    patch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_one_private_address_among_others_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(AddressRefusedError):
        post("http://rebinding.example/", Reach(""))


def test_a_name_is_resolved_once_and_its_checked_address_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second resolution, which would be another address, never happens."""
    with receiving() as receiver:
        asked = resolve_to(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
        assert post(f"http://rebinding.example:{receiver.port}/", Reach("127.0.0.1")) == 204
        assert asked == ["rebinding.example"]
        [(headers, _)] = receiver.got
        assert headers["host"] == f"rebinding.example:{receiver.port}", "the receiver is still called by its name"


def test_an_address_that_does_not_answer_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        resolve_to(monkeypatch, ["127.0.0.9", "127.0.0.1"])
        assert post(f"http://rebinding.example:{receiver.port}/", Reach("127.0.0.0/8")) == 204


def test_that_no_address_answers_is_told() -> None:
    with pytest.raises(httpcore.ConnectError):
        post("http://127.0.0.1:1/", Reach("127.0.0.1"))


def test_unix_sockets_are_out_of_reach() -> None:
    with pytest.raises(AddressRefusedError):
        asyncio.run(CheckedBackend(Reach("0.0.0.0/0")).connect_unix_socket("/tmp/redis.sock"))  # noqa: S108
