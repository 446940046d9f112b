from __future__ import annotations

import os
import tempfile

# Before anything imports Airflow, which reads these once.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# Triggers report at once; tests/integration/test_deferrals.py is about what they do by default.
os.environ["AIRFLOW__TRIFACTA__MIN_DEFERRAL_SECONDS"] = "0"

import json
import socket
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import Answer, Caller, FakeClock, FakeTaskInstance, RawServer, ScriptedServer, SomeOf

from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.tasks import quota_file


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def checked(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
            raise AssertionError(f"a test must not connect to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", checked)


@pytest.fixture(autouse=True)
def _own_quota_files(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Ports are used again: no test learns of a quota from another one."""
    folder = tmp_path_factory.getbasetemp() / f"quotas-{uuid.uuid4().hex}"
    monkeypatch.setattr(quota_file, "folder", lambda: folder)


@pytest.fixture
def some_of(request: pytest.FixtureRequest) -> SomeOf:
    return SomeOf(request.node.nodeid)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(enforce_quotas=False) as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, clock: FakeClock) -> Caller:
    return Caller(request.param, clock)


@pytest.fixture
def context() -> dict[str, Any]:
    return {"ti": FakeTaskInstance()}


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Define an Airflow connection of type trifacta for a server."""

    def define(
        server: Emulator | str, conn_id: str = "trifacta_default", token: str | None = None, **extra: Any
    ) -> None:
        url = server if isinstance(server, str) else server.url
        fields = {
            "conn_type": "trifacta",
            "host": url,
            "password": token or getattr(server, "token", "token"),
            "extra": extra,
        }
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    return define


@pytest.fixture
def scripted() -> Iterator[Callable[[Answer], ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def start(answer: Answer) -> ScriptedServer:
        servers.append(ScriptedServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def raw() -> Iterator[Callable[..., RawServer]]:
    servers: list[RawServer] = []

    def start(respond: Callable[[socket.socket, bytes], bool | None]) -> RawServer:
        servers.append(RawServer(respond))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
