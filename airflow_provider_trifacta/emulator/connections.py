"""The TCP connections of the server: which one a request came in on, and how to end it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connections:
    """The open connections, by the address of the client."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], tuple[int, asyncio.Transport]] = {}
        #: How many connections there have been.
        self.total = 0

    def opened(self, transport: asyncio.Transport) -> None:
        """Note a new connection."""
        self.total += 1
        self._open[_address(transport.get_extra_info("peername"))] = self.total, transport

    def closed(self, transport: asyncio.Transport) -> None:
        """Forget a connection."""
        self._open.pop(_address(transport.get_extra_info("peername")), None)

    def number(self, scope: Mapping[str, Any]) -> int:
        """Return the number of the connection that a request came in on, from 1."""
        return self._open[_address(scope["client"])][0]

    def reset(self, scope: Mapping[str, Any]) -> None:
        """End the connection of a request with a reset, as a crashed server or a firewall does."""
        self._reset(self._open[_address(scope["client"])][1])

    def close(self, scope: Mapping[str, Any]) -> None:
        """Close the connection of a request after sending what was written to it."""
        self._open[_address(scope["client"])][1].close()

    def reset_all(self) -> None:
        """End every connection with a reset."""
        for _, transport in list(self._open.values()):
            self._reset(transport)

    def _reset(self, transport: asyncio.Transport) -> None:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def _address(value: Any) -> tuple[str, int]:
    return value[0], value[1]


def protocol_noting(connections: Connections) -> type[H11Protocol]:
    """Return uvicorn's HTTP protocol, extended to report each connection to ``connections``."""

    class NotingProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            connections.opened(transport)
            self._noted = transport
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.closed(self._noted)
            super().connection_lost(exc)

    return NotingProtocol
