from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from oauth import OAuthAirflow

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

    def read() -> str:
        printed = capsys.readouterr().out
        # What hooks log is printed; up to Airflow 3.0, it is also captured.
        return caplog.text + ("" if any("hooks" in record.name for record in caplog.records) else printed)

    return read
