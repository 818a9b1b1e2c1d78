"""Connections to addresses that strangers name: checked after the name was resolved, then made to what was checked.

So neither a name that resolves to a private address nor one that resolves otherwise a moment later (DNS rebinding)
reaches what this server can reach and its clients cannot.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore

from adapter import config

Address = IPv4Address | IPv6Address

_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"), IPv6Network("::/96"))
"""IPv6 that stands for an IPv4 address, which may be a private one (RFC 6052, 8215, 4291)."""


class AddressRefusedError(Exception):
    """The name leads to an address that strangers may not choose."""


class Reach:
    """Which addresses may be connected to: the public internet, and the operator's `networks`.

    Raises:
        ValueError: one of them is no network.
    """

    def __init__(self, networks: str) -> None:
        self._networks = config.networks(networks)

    def includes(self, address: Address) -> bool:
        """Whether it may be connected to."""
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if any(address in network for network in self._networks):
            return True
        if isinstance(address, IPv6Address) and (
            address.sixtofour or address.teredo or address.is_site_local or any(address in n for n in _TRANSLATED)
        ):
            return False
        return address.is_global and not address.is_multicast and not address.is_reserved


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects within a `Reach`: every address of a name must lie in it."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._inner: httpcore.AsyncNetworkBackend = httpcore.AnyIOBackend()  # pyright: ignore[reportAttributeAccessIssue]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """As httpcore's own.

        Raises:
            AddressRefusedError: an address of the name is out of reach.
            OSError: the name has none.
            httpcore.ConnectError: none of them answers.
        """
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not all(self._reach.includes(ip_address(a.partition("%")[0])) for a in addresses):
            raise AddressRefusedError("the address is not on the public internet")
        failed: Exception = httpcore.ConnectError("the name has no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise AddressRefusedError("a Unix socket is not on the public internet")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
