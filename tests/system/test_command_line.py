"""The ways to define a connection that the documentation shows, and testing one outside the browser."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import pytest
from airflow_instance import IS_AIRFLOW_3, AirflowInstance

from airflow_provider_trifacta.emulator import Emulator

pytestmark = pytest.mark.system


@pytest.mark.parametrize("form", ["json", "uri", "fields"])
def test_airflow_connections_add(airflow: AirflowInstance, emulator: Emulator, form: str) -> None:
    base_url, port = emulator.url.rsplit(":", 1)
    arguments = {
        "json": [
            "--conn-json",
            json.dumps(
                {
                    "conn_type": "trifacta",
                    "host": emulator.url,
                    "password": emulator.token,
                    "extra": {"read_timeout": 30, "verify": False},
                }
            ),
        ],
        "uri": [
            "--conn-uri",
            f"trifacta://:{quote(emulator.token, safe='')}@127.0.0.1:{port}/http?read_timeout=30&verify=false",
        ],
        "fields": [
            *("--conn-type", "trifacta", "--conn-host", base_url, "--conn-port", port),
            *("--conn-password", emulator.token, "--conn-extra", '{"read_timeout": 30, "verify": false}'),
        ],
    }[form]
    airflow.airflow("connections", "add", f"by_{form}", *arguments)
    asked = len(emulator.calls("getCurrentPerson"))
    assert "Connection success!" in airflow.airflow("connections", "test", f"by_{form}")
    assert len(emulator.calls("getCurrentPerson")) == asked + 1


def test_airflow_dags_test(airflow: AirflowInstance, emulator: Emulator) -> None:
    """Runs the trigger outside a triggerer, with the connection in the database."""
    known = {row["id"] for row in emulator.job_groups}
    airflow.airflow("dags", "test", "trifacta_run_and_wait")
    (job_group,) = [row for row in emulator.job_groups if row["id"] not in known]
    assert job_group["status"] == "Complete"
    ((state,),) = airflow.rows(
        "select state from dag_run where dag_id = 'trifacta_run_and_wait' order by id desc limit 1"
    )
    assert state == "success"


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 tests no connection on a worker")
@pytest.mark.parametrize(
    ("password", "state", "says"),
    [("right", "success", "The token belongs to emulator@example.com."), ("wrong", "failed", "was not accepted")],
)
def test_a_worker_tests_a_connection(
    airflow: AirflowInstance, emulator: Emulator, password: str, state: str, says: str
) -> None:
    body = {
        "connection_id": f"on_a_worker_{password}",
        "conn_type": "trifacta",
        "host": emulator.url,
        "password": emulator.token if password == "right" else "eyJwrong",
    }
    queued = airflow.api("POST", "/api/v2/connections/enqueue-test", body)
    end = time.monotonic() + 90
    while True:
        headers = {"Airflow-Connection-Test-Token": queued["token"]}
        tested = airflow.api("GET", "/api/v2/connections/enqueue-test", headers=headers)
        if tested["state"] in ("success", "failed") or time.monotonic() > end:
            break
        time.sleep(0.5)
    assert tested["state"] == state, tested
    assert says in tested["result_message"]
