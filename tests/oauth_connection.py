"""An OAuth connection in a real Airflow, ``trifacta_oauth``, and its token pair in a Variable."""

from __future__ import annotations

from airflow_instance import AirflowInstance

from airflow_provider_trifacta.emulator import Emulator

VARIABLE = "trifacta_oauth_token"
_DAYS = 30


def paste(airflow: AirflowInstance, emulator: Emulator) -> None:
    """Generate a pair on the page, and paste the refresh token."""
    token = emulator.generate_oauth_pair(refresh_token_days=_DAYS).refresh_token
    airflow.airflow("variables", "set", VARIABLE, token)


def connect(airflow: AirflowInstance, emulator: Emulator) -> None:
    """Store the connection, and paste a token."""
    airflow.set_connection(
        "trifacta_oauth",
        conn_type="trifacta",
        host=emulator.url,
        extra={
            "oauth_client_id": emulator.oauth_client_id,
            "oauth_token_url": emulator.oauth_token_url.removesuffix("/token"),
            "oauth_refresh_token_days": _DAYS,
            "token_variable": VARIABLE,
            # A test that fails leaves no task that waits for a token for long.
            "retry_budget": 120,
        },
    )
    paste(airflow, emulator)
