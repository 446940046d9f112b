"""Airflow with its UI and the emulator side by side, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from importlib.metadata import version
from pathlib import Path

from airflow_instance import IS_AIRFLOW_3, AirflowInstance

from airflow_provider_trifacta.emulator import Emulator

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Run until interrupted."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    home = ROOT / ".up" / f"airflow-{version('apache-airflow')}"
    airflow = AirflowInstance(home, ROOT / "example_dags", with_ui=True)
    with Emulator(pace="seconds=20") as emulator:
        try:
            print("starting ...", flush=True)
            airflow.start()
            # Host and port in their own fields: the Test button of Airflow 3.3.2 refuses a stored connection
            # without a port.
            host, _, port = emulator.url.rpartition(":")
            airflow.set_connection(
                "trifacta_default", conn_type="trifacta", host=host, port=int(port), password=emulator.token
            )
            login = "no login is asked for" if IS_AIRFLOW_3 else "user admin, password admin"
            print(f"Airflow:  {airflow.url} ({login})")
            print(f"Emulator: {emulator.url}, token {emulator.token}")
            print("Ctrl-C stops both.", flush=True)
            stopped.wait()
        finally:
            airflow.stop()


if __name__ == "__main__":
    main()
