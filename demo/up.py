"""Airflow with its UI and the emulator side by side, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from importlib.metadata import version
from pathlib import Path

from airflow_instance import IS_AIRFLOW_3, AirflowInstance

from airflow_provider_trifacta.emulator import Emulator

ROOT = Path(__file__).parent.parent
DAGS = ROOT / "example_dags"
#: By default, Airflow checks for new files every five minutes.
LIST_DAGS = {
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "10",
}


def guide(airflow: AirflowInstance, emulator: Emulator) -> list[str]:
    """Return what a user can do now."""
    login = "no login required" if IS_AIRFLOW_3 else "user admin, password admin"
    return [
        f"Airflow:   {airflow.url} ({login})",
        f"Emulator:  {emulator.url}, token {emulator.token}",
        f"Try:       trigger the DAG trifacta_run_and_wait: {airflow.url}/dags/trifacta_run_and_wait",
        f"Your DAGs: put a file in {DAGS}; it appears within 30 s",
        f"Logs:      tasks in {airflow.home / 'logs'}, Airflow in {airflow.home}/*.log",
        "Ctrl-C stops both.",
    ]


def main() -> None:
    """Run until interrupted."""
    began = time.monotonic()

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
            # Host and port in their own fields: the Test button of Airflow 3.3.2 refuses a stored connection
            # without a port.
            host, _, port = emulator.url.rpartition(":")
            airflow.set_connection(
                "trifacta_default", conn_type="trifacta", host=host, port=int(port), password=emulator.token
            )
            print("\n".join(guide(airflow, emulator)), flush=True)
            stopped.wait()
        finally:
            airflow.stop()


if __name__ == "__main__":
    main()
