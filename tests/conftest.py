from __future__ import annotations

import os
import tempfile

# Before anything imports Airflow, which reads these once.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_trifacta.api.async_client import AsyncTrifactaClient
from airflow_provider_trifacta.api.client import TrifactaClient
from airflow_provider_trifacta.api.messages import Listing, Operation
from airflow_provider_trifacta.api.retries import RetryPolicy
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.emulator import Emulator


class FakeClock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def async_sleep(self, seconds: float) -> None:
        self.sleep(seconds)


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


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(enforce_quotas=False) as running:
        yield running


class Caller:
    """Sends operations through the synchronous or the asynchronous client, the same way."""

    def __init__(self, kind: str, clock: FakeClock) -> None:
        self.kind = kind
        self.clock = clock

    def __call__(
        self,
        operation: Operation[Any] | Listing,
        server: Emulator | str,
        token: Any = None,
        *,
        budget: float = 900.0,
        clock: Any = None,
        **settings: Any,
    ) -> Any:
        url = server if isinstance(server, str) else server.url
        token = token if token is not None else getattr(server, "token", "token")
        options = ClientSettings(url, retries=RetryPolicy(budget=budget), **settings)
        clock = clock or self.clock
        if self.kind == "sync":
            with TrifactaClient(options, token, clock=clock, random_number=lambda: 0.5) as client:
                if isinstance(operation, Listing):
                    return list(client.iterate(operation))
                return client.send(operation)

        async def call() -> Any:
            credential = token if isinstance(token, str) else AsyncCredentialOf(token)
            async with AsyncTrifactaClient(
                options, credential, clock=clock, random_number=lambda: 0.5
            ) as asynchronous:
                if isinstance(operation, Listing):
                    return [item async for item in asynchronous.iterate(operation)]
                return await asynchronous.send(operation)

        return asyncio.run(call())


class AsyncCredentialOf:
    """A synchronous credential for the asynchronous client."""

    def __init__(self, credential: Any) -> None:
        self._credential = credential

    async def token(self) -> str:
        return self._credential.token()

    async def reread(self) -> str:
        return self._credential.reread()


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, clock: FakeClock) -> Caller:
    return Caller(request.param, clock)


class FakeTaskInstance:
    """What operators use of a task instance: XComs that survive a deferral, and when it started."""

    def __init__(self, start_date: datetime | None = None) -> None:
        self.start_date = start_date or datetime.now(UTC)
        self.map_index = -1
        self.dag_id, self.task_id, self.run_id = "dag", "task", "run"
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, *, key: str, **_: Any) -> Any:
        return self.xcoms.get(key)


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


async def drain(events: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in events]


def run_deferred(operator: Any, context: dict[str, Any]) -> Any:
    """Run an operator as Airflow does: its trigger, when it defers, and then the method it names."""
    from airflow.providers.common.compat.sdk import TaskDeferred

    try:
        return operator.execute(context)
    except TaskDeferred as deferral:
        path, arguments = deferral.trigger.serialize()
        trigger = type(deferral.trigger)(**json.loads(json.dumps(arguments)))
        assert path == f"{type(trigger).__module__}.{type(trigger).__qualname__}"
        events = asyncio.run(drain(trigger.run()))
        payload = json.loads(json.dumps(events[0].payload))
        return operator.resume_execution(deferral.method_name, {"event": payload}, context)


@pytest.fixture
def soon() -> timedelta:
    return timedelta(seconds=1)


def namespace(**fields: Any) -> SimpleNamespace:
    return SimpleNamespace(**fields)
