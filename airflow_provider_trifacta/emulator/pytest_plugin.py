"""The pytest fixtures; pytest finds them when the package is installed."""

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
        _connect(monkeypatch, emulator)
        yield emulator


@pytest.fixture
def trifacta_oauth_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Start a server like ``trifacta_emulator``, which accepts OAuth 2.0 API tokens only.

    The server keeps the refresh token of the connection, so that a test can refresh it.
    """
    from airflow_provider_trifacta.emulator import Emulator

    with Emulator() as emulator:
        emulator.change_settings(oauth_only=True)
        emulator.store_token(emulator.generate_oauth_pair().refresh_token)
        _connect(
            monkeypatch,
            emulator,
            oauth_client_id=emulator.oauth_client_id,
            oauth_token_url=emulator.oauth_token_url,
            oauth_refresh_on_demand=True,
        )
        yield emulator


def _connect(monkeypatch: pytest.MonkeyPatch, emulator: Emulator, **extra: object) -> None:
    # The token store needs the password, whatever the API accepts.
    connection = {
        "conn_type": "trifacta",
        "host": emulator.url,
        "password": emulator.token,
        "extra": {"credential_store": f"{__package__}.token_store.EmulatorTokenStore", **extra},
    }
    monkeypatch.setenv("AIRFLOW_CONN_TRIFACTA_DEFAULT", json.dumps(connection))
