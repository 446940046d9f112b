"""A real Airflow: scheduler, triggerer and, on Airflow 3, the API server."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow_instance import IS_AIRFLOW_3, AirflowInstance, wait_for

from airflow_provider_trifacta.emulator import Emulator

pytestmark = pytest.mark.system

EXAMPLES = Path(__file__).parents[2] / "example_dags"
DAGS = """
from datetime import datetime, timedelta
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

for name, options in {
    "fails": {"wrangled_dataset_id": 8, "deferrable": True},
    "endless_deferred": {"wrangled_dataset_id": 9, "deferrable": True},
    "endless_sync": {"wrangled_dataset_id": 9, "execution_timeout": timedelta(seconds=4)},
    "deadline_deferred": {
        "wrangled_dataset_id": 9, "deferrable": True, "execution_timeout": timedelta(seconds=4)
    },
}.items():
    with DAG(dag_id=name, schedule=None, start_date=datetime(2024, 1, 1), catchup=False) as dag:
        TrifactaRunJobGroupOperator(task_id="run", poll_interval=1, **options)
    globals()[name] = dag
"""


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(pace="seconds=2", enforce_quotas=False) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowInstance]:
    folder = tmp_path_factory.mktemp("airflow")
    dags = folder / "dags"
    dags.mkdir()
    for file in EXAMPLES.glob("*.py"):
        (dags / file.name).write_text(file.read_text())
    (dags / "system_tests.py").write_text(DAGS)
    instance = AirflowInstance(folder / "home", dags)
    try:
        instance.start()
        instance.set_connection(
            "trifacta_default", conn_type="trifacta", host=emulator.url, password=emulator.token
        )
        yield instance
    finally:
        instance.stop()


def _start(airflow: AirflowInstance, dag_id: str, run_id: str = "test") -> str:
    airflow.trigger(dag_id, run_id)
    return run_id


def _end(airflow: AirflowInstance, dag_id: str, run_id: str = "test") -> Any:
    wait_for(
        lambda: airflow.run_state(dag_id, run_id) in ("success", "failed"),
        f"{dag_id} did not end; {airflow.dead_components()}",
        seconds=120,
    )
    return airflow.run_state(dag_id, run_id)


def _new_job_group(emulator: Emulator, known: set[int]) -> dict[str, Any]:
    wait_for(lambda: {row["id"] for row in emulator.job_groups} - known, "no job group was started", seconds=60)
    (row,) = [row for row in emulator.job_groups if row["id"] not in known]
    return row


def _ids(emulator: Emulator) -> set[int]:
    return {row["id"] for row in emulator.job_groups}


@pytest.mark.parametrize(
    ("dag_id", "job_groups"),
    [
        ("trifacta_run_and_wait", 1),
        ("trifacta_run_then_sense", 1),
        ("trifacta_parameters", 1),
        ("trifacta_map_recipes", 2),
    ],
)
def test_the_example_dags(airflow: AirflowInstance, emulator: Emulator, dag_id: str, job_groups: int) -> None:
    known = _ids(emulator)
    if dag_id == "trifacta_parameters":
        emulator.order("getJobGroupStatus", "status", status=503)
    _start(airflow, dag_id)
    assert _end(airflow, dag_id) == "success", airflow.task_log(dag_id, "test")
    if dag_id == "trifacta_parameters":
        assert "/status: attempt 1 failed" in airflow.task_log(dag_id, "test")
    started = [row for row in emulator.job_groups if row["id"] not in known]
    assert [row["status"] for row in started] == ["Complete"] * job_groups
    assert emulator.token not in airflow.task_log(dag_id, "test")
    if dag_id == "trifacta_run_and_wait":
        xcoms = airflow.xcoms(dag_id, "test")
        assert xcoms["run_recipe", "return_value"] == started[0]["id"]
        assert xcoms["run_recipe", "_link_TrifactaJobGroupLink"] == f"{emulator.url}/jobs/{started[0]['id']}"


def test_a_failure_says_why_in_the_task_log(airflow: AirflowInstance) -> None:
    _start(airflow, "fails")
    assert _end(airflow, "fails") == "failed"
    log = airflow.task_log("fails", "test")
    assert "Column 'order_date' not found in the source" in log
    assert "/jobs/" in log


@pytest.mark.parametrize("dag_id", ["endless_sync", "deadline_deferred"])
def test_the_deadline_cancels(airflow: AirflowInstance, emulator: Emulator, dag_id: str) -> None:
    known = _ids(emulator)
    _start(airflow, dag_id)
    row = _new_job_group(emulator, known)
    assert _end(airflow, dag_id) == "failed"
    wait_for(lambda: emulator.job_groups and row["status"] == "Canceled", "the job group goes on", seconds=20)
    assert len(_ids(emulator) - known) == 1


def test_a_triggerer_that_dies_changes_nothing_and_a_person_cancels(
    airflow: AirflowInstance, emulator: Emulator
) -> None:
    known = _ids(emulator)
    _start(airflow, "endless_deferred")
    row = _new_job_group(emulator, known)

    def status_reads() -> int:
        return sum(entry.path.endswith(f"/{row['id']}/status") for entry in emulator.journal)

    wait_for(lambda: status_reads() > 2, "the triggerer does not look", seconds=60)
    airflow.stop_component("triggerer", signal.SIGTERM)
    before = status_reads()
    assert row["status"] == "InProgress"
    airflow.start_component("triggerer")
    wait_for(lambda: status_reads() > before + 1, "the new triggerer does not look", seconds=90)
    assert not any(entry.path.endswith(f"/{row['id']}/cancel") for entry in emulator.journal)
    assert _ids(emulator) - known == {row["id"]}
    # A person clears the task: its job group is canceled, and the new attempt starts one of its own.
    airflow.airflow("tasks", "clear", "endless_deferred", "--yes")
    wait_for(lambda: emulator.job_groups and row["status"] == "Canceled", "the job group goes on", seconds=60)
    assert _new_job_group(emulator, known | {row["id"]})["status"] != "Complete"


def _api(airflow: AirflowInstance, method: str, path: str, body: dict[str, Any]) -> Any:
    with urllib.request.urlopen(f"{airflow.url}/auth/token", timeout=10) as response:
        token = json.loads(response.read())["access_token"]
    request = urllib.request.Request(
        f"{airflow.url}{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.loads(response.read())


def test_the_provider_and_its_form_are_known(airflow: AirflowInstance) -> None:
    assert "airflow-provider-trifacta" in airflow.airflow("providers", "list")
    assert "trifacta" in airflow.airflow("providers", "hooks")
    assert "trifacta_conn_id" in airflow.airflow("providers", "hooks")
    assert "Designer Cloud" in airflow.airflow(
        "providers", "get", "airflow-provider-trifacta", "--full", "-o", "json"
    )
    if not IS_AIRFLOW_3:
        return
    connections = {
        "connection_id": "form_test",
        "conn_type": "trifacta",
        "host": "http://127.0.0.1:9",
        "password": "x",
        "extra": json.dumps({"retry_budget": 0}),
    }
    answer = _api(airflow, "POST", "/api/v2/connections/test", connections)
    assert answer["status"] is False
    assert "Check the base URL" in answer["message"]
