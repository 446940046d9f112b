"""Airflow with its UI and the emulator side by side, until Ctrl-C.

With ``--oauth``, the emulator is an Alteryx One: the connection has an OAuth 2.0 token pair.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

from airflow_instance import IS_AIRFLOW_3, AirflowInstance

from airflow_provider_trifacta.emulator import Emulator

ROOT = Path(__file__).parent.parent
DAGS = ROOT / "example_dags"
TOKEN_VARIABLE = "trifacta_oauth_token"
#: By default, Airflow checks for new files every five minutes.
LIST_DAGS = {
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "10",
}


def connect(airflow: AirflowInstance, emulator: Emulator, *, oauth: bool) -> None:
    """Store the connection ``trifacta_default``."""
    # Host and port in their own fields: the Test button of Airflow 3.3.2 refuses a stored connection without a
    # port.
    host, _, port = emulator.url.rpartition(":")
    fields: dict[str, object] = {"conn_type": "trifacta", "host": host, "port": int(port)}
    if not oauth:
        airflow.set_connection("trifacta_default", **fields, password=emulator.token)
        return
    emulator.change_settings(oauth_only=True)
    airflow.airflow("variables", "set", TOKEN_VARIABLE, emulator.generate_oauth_pair().refresh_token)
    extra = {
        "oauth_client_id": emulator.oauth_client_id,
        "oauth_token_url": emulator.oauth_token_url,
        "oauth_refresh_token_days": 365,
        "token_variable": TOKEN_VARIABLE,
    }
    airflow.set_connection("trifacta_default", **fields, extra=extra)


def guide(airflow: AirflowInstance, emulator: Emulator, *, oauth: bool) -> list[str]:
    """Return what a user can do now."""
    keeper = [
        f"OAuth 2.0: unpause the DAG trifacta_keep_oauth_token: {airflow.url}/dags/trifacta_keep_oauth_token",
        f"           A new pair: {emulator.url}/oauth2-api-tokens; it goes into Variable {TOKEN_VARIABLE}",
    ]
    login = "no login required" if IS_AIRFLOW_3 else "user admin, password admin"
    return [
        f"Airflow:   {airflow.url} ({login})",
        f"Emulator:  {emulator.url}, token {emulator.token}",
        *(keeper if oauth else []),
        f"Try:       trigger the DAG trifacta_run_and_wait: {airflow.url}/dags/trifacta_run_and_wait",
        f"Your DAGs: put a file in {DAGS}; it appears within 30 s",
        f"Logs:      tasks in {airflow.home / 'logs'}, Airflow in {airflow.home}/*.log",
        "Ctrl-C stops both.",
    ]


def main() -> None:
    """Run until interrupted."""
    began = time.monotonic()
    oauth = "--oauth" in sys.argv[1:]

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text} ...", flush=True)

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    home = ROOT / ".up" / f"airflow-{version('apache-airflow')}"
    airflow = AirflowInstance(home, DAGS, with_ui=True, settings=LIST_DAGS)
    with Emulator(pace="seconds=20") as emulator:
        try:
            say(f"starting Airflow {version('apache-airflow')} and the emulator, which takes about a minute")
            airflow.start(say)
            say("storing the connection trifacta_default")
            connect(airflow, emulator, oauth=oauth)
            print("\n".join(guide(airflow, emulator, oauth=oauth)), flush=True)
            stopped.wait()
        finally:
            airflow.stop()


if __name__ == "__main__":
    main()
