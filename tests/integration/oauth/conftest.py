from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from oauth import OAuthAirflow

from airflow_provider_trifacta.airflow_support.database import tasks_use_the_database
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.emulator.clock import Clock


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(enforce_quotas=False, clock=Clock(lambda: 1.8e9)) as running:
        yield running


@pytest.fixture(params=["variable", "comparing"])
def airflow(request: pytest.FixtureRequest, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> OAuthAirflow:
    return OAuthAirflow(emulator, request.param, monkeypatch)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    caplog.set_level(logging.DEBUG)
    # Airflow 3 prints what hooks log; Airflow 2 logs it, and prints it too.
    return lambda: caplog.text + ("" if tasks_use_the_database() else capsys.readouterr().out)
