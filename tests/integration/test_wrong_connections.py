"""An Airflow connection that is filled in wrongly: each mistake is named, at once, with what to do."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import Caller, FakeClock, ScriptedServer

from airflow_provider_trifacta.api import operations as ops
from airflow_provider_trifacta.api.errors import TransportFailure, TrifactaTransportError

Handshake = Callable[[socket.socket], None]


@pytest.fixture
def breaking() -> Iterator[Callable[[Handshake], str]]:
    """Start a server that does something else than a TLS handshake; give its https URL."""
    listening: list[socket.socket] = []

    def start(handshake: Handshake) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    handshake(connection)

        threading.Thread(target=accept, daemon=True).start()
        return f"https://127.0.0.1:{server.getsockname()[1]}"

    yield start
    for server in listening:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()


def _reset(connection: socket.socket) -> None:
    connection.recv(10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _close(connection: socket.socket) -> None:
    connection.recv(5000)
    connection.close()


def _alert(connection: socket.socket) -> None:
    connection.recv(5000)
    connection.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))
    connection.close()


def test_a_server_of_plain_http_is_named_at_once(
    call: Caller, clock: FakeClock, scripted: Callable[..., ScriptedServer]
) -> None:
    server = scripted(lambda _: (200, {}, b"{}"))
    with pytest.raises(TrifactaTransportError, match=r"write http:// in front of the host") as caught:
        call(ops.run_job_group(7), server.url.replace("http://", "https://"))
    assert caught.value.failure is TransportFailure.PLAIN_HTTP
    assert not caught.value.sent
    assert clock.slept == []
    assert server.requests == []


def test_a_refused_handshake_is_not_repeated(call: Caller, clock: FakeClock, breaking: Any) -> None:
    with pytest.raises(TrifactaTransportError) as caught:
        call(ops.run_job_group(7), breaking(_alert))
    assert (caught.value.failure, caught.value.sent) == (TransportFailure.TLS, False)
    assert clock.slept == []


@pytest.mark.parametrize("handshake", [_reset, _close])
def test_a_handshake_that_breaks_off_sent_nothing_and_is_repeated(
    call: Caller, clock: FakeClock, breaking: Any, handshake: Handshake
) -> None:
    with pytest.raises(TrifactaTransportError) as caught:
        call(ops.run_job_group(7), breaking(handshake), budget=20)
    assert (caught.value.failure, caught.value.sent) == (TransportFailure.NOT_CONNECTED, False)
    assert clock.slept


def test_a_handshake_that_hangs_sent_nothing(call: Caller, breaking: Any) -> None:
    kept: list[socket.socket] = []
    with pytest.raises(TrifactaTransportError) as caught:
        call(ops.run_job_group(7), breaking(kept.append), budget=0, connect_timeout=0.2)
    assert (caught.value.failure, caught.value.sent) == (TransportFailure.CONNECT_TIMEOUT, False)


def test_the_first_repeat_says_until_when_and_what_to_do(
    call: Caller, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(TrifactaTransportError, match="Check the base URL"):
        call(ops.get_current_person(), url)
    first, *later = [record.getMessage() for record in caplog.records]
    assert "Trying again for up to 15 min, until 2023-11-14 22:28:20 UTC" in first
    assert first.count("Check the base URL") == 1
    assert len(later) > 3
    assert not any("Check the base URL" in said or "Trying again" in said for said in later)
    assert all("no answer: no connection" in said for said in later)
