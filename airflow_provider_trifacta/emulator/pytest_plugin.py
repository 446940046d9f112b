"""The pytest fixture ``trifacta_emulator``; pytest finds it when the package is installed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_trifacta.emulator import Emulator


@pytest.fixture
def trifacta_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Start a server whose runs end immediately, and point the Airflow connection ``trifacta_default`` at it.

    The server keeps the token of the connection, so that a test can rotate it.
    """
    # Every test run with this package installed imports this module, so the server is imported only on use.
    from airflow_provider_trifacta.emulator import Emulator

    with Emulator() as emulator:
        connection: dict[str, object] = {"conn_type": "trifacta", "host": emulator.url, "password": emulator.token}
        connection["extra"] = {"credential_store": f"{__package__}.token_store.EmulatorTokenStore"}
        monkeypatch.setenv("AIRFLOW_CONN_TRIFACTA_DEFAULT", json.dumps(connection))
        yield emulator
