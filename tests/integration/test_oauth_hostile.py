"""Refreshing against token endpoints and stores that nobody has seen."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from oauth import VARIABLE, Keeper, OAuthAirflow, T
from simulated_airflow import Killed
from support import RawServer, ScriptedServer, json_answer

from airflow_provider_trifacta.api.clock import SYSTEM_CLOCK
from airflow_provider_trifacta.api.errors import TrifactaApiError, TrifactaTransportError
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.api.token_endpoint import TokenEndpoint
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.emulator.clock import Clock
from airflow_provider_trifacta.exceptions import (
    TrifactaConfigurationError,
    TrifactaError,
    TrifactaOAuthPairLost,
    TrifactaRefreshError,
    TrifactaRefreshRefused,
)

CLAIM = f"{VARIABLE}_refresh"
OLD = "rt-old"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(enforce_quotas=False, clock=Clock(lambda: 1.8e9)) as running:
        yield running


@pytest.fixture(params=["variable", "comparing"])
def airflow(request: pytest.FixtureRequest, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> OAuthAirflow:
    airflow = OAuthAirflow(emulator, request.param, monkeypatch)
    airflow.variables[VARIABLE] = OLD
    return airflow


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    caplog.set_level(logging.DEBUG)
    return lambda: caplog.text + capsys.readouterr().out


class Endpoint:
    """A token endpoint that answers whatever a test says, the last answer again and again."""

    def __init__(self, airflow: OAuthAirflow, *answers: Any) -> None:
        left = list(answers)

        def answer(_: str) -> Any:
            now = left.pop(0) if len(left) > 1 else left[0]
            return now() if callable(now) else now

        self.server = ScriptedServer(answer)
        airflow.extra["oauth_token_url"] = self.server.url

    def __enter__(self) -> ScriptedServer:
        return self.server

    def __exit__(self, *_: object) -> None:
        self.server.stop()


def raw(body: bytes, status: int = 200, **headers: str) -> Any:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, body


# ------------------------------------------------------------------------------------------------ whose turn it is


class DeadKeeper(Keeper):
    """Is killed, with its whole process, before it sends the refresh token."""

    def event(self, name: str) -> None:
        if name == "before the refresh token is sent" or "dead" in self.events:
            self.events.append("dead")
            raise Killed(name)


class ImpatientKeeper(Keeper):
    """Notes when it sends the refresh token; once a turn is stuck, something happens before one of its calls."""

    def __init__(self, airflow: OAuthAirflow, number: int, happens: Callable[[], None]) -> None:
        super().__init__("impatient")
        self._airflow = airflow
        self._left = number
        self._then = happens
        self._since = airflow.clock.now
        self.happened_at: float | None = None
        self.sent_at: float | None = None

    def event(self, name: str) -> None:
        now = self._airflow.clock.now
        if name == "before the refresh token is sent":
            self.sent_at = now if self.happened_at is not None else None
        if self.happened_at is None and now - self._since >= T and name.startswith("before"):
            self._left -= 1
            if self._left == 0:
                self.happened_at = now
                self._then()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_of_two_that_wait_for_a_dead_keeper_one_takes_over(airflow: OAuthAirflow, number: int) -> None:
    """Another one takes over at about the moment in which the first has seen that nothing moves."""

    def take_over() -> None:
        if airflow.kind == "variable":
            claim = json.loads(airflow.variables[CLAIM])
            airflow.variables[CLAIM] = json.dumps({**claim, "id": "other", "by": "other"})
        pair = json.loads(airflow.variables[VARIABLE])
        pair["refreshing"] = {**pair["refreshing"], "id": "other", "by": "other"}
        airflow.variables[VARIABLE] = json.dumps(pair)

    airflow.paste()
    with contextlib.suppress(Killed):
        airflow.refresh(DeadKeeper("dead"))
    keeper = ImpatientKeeper(airflow, number, take_over)
    with contextlib.suppress(TrifactaRefreshError):
        airflow.refresh(keeper)
    assert keeper.happened_at is not None
    if keeper.sent_at is not None:
        assert keeper.sent_at - keeper.happened_at >= T
    assert airflow.works
