"""A real Airflow: scheduler, triggerer and, on Airflow 3, the API server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow_instance import IS_AIRFLOW_3, AirflowInstance, wait_for

from airflow_provider_trifacta.emulator import Emulator

pytestmark = pytest.mark.system


def _start(airflow: AirflowInstance, dag_id: str, run_id: str = "test") -> str:
    airflow.trigger(dag_id, run_id)
    return run_id


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
        ("trifacta_run_flow", 2),
        ("trifacta_run_plan", 2),
        ("trifacta_copy_run_delete_flow", 2),
    ],
)
def test_the_example_dags(airflow: AirflowInstance, emulator: Emulator, dag_id: str, job_groups: int) -> None:
    known = _ids(emulator)
    flows = [row["id"] for row in emulator.state.rows("flows")]
    if dag_id == "trifacta_parameters":
        emulator.order("getJobGroupStatus", "status", status=503)
    _start(airflow, dag_id)
    assert airflow.end_of(dag_id, "test") == "success", airflow.task_log(dag_id, "test")
    if dag_id == "trifacta_parameters":
        assert "Attempt 1 failed" in airflow.task_log(dag_id, "test")
    started = [row for row in emulator.job_groups if row["id"] not in known]
    assert [row["status"] for row in started] == ["Complete"] * job_groups
    assert emulator.token not in airflow.task_log(dag_id, "test")
    if dag_id == "trifacta_run_and_wait":
        xcoms = airflow.xcoms(dag_id, "test")
        assert xcoms["run_recipe", "return_value"] == started[0]["id"]
        assert xcoms["run_recipe", "_link_TrifactaJobGroupLink"] == f"{emulator.url}/jobs/{started[0]['id']}"
    if dag_id == "trifacta_run_flow":
        xcoms = airflow.xcoms(dag_id, "test")
        assert xcoms["run_flow", "return_value"] == started[0]["flowrun"]["id"]
        assert xcoms["run_flow", "_link_TrifactaFlowLink"] == f"{emulator.url}/flows/302"
    if dag_id == "trifacta_run_plan":
        xcoms = airflow.xcoms(dag_id, "test")
        (run,) = emulator.state.rows("planSnapshotRuns")
        assert xcoms["run_plan", "return_value"] == run["id"]
        assert xcoms["run_plan", "_link_TrifactaPlanLink"] == f"{emulator.url}/plans/89"
    assert [row["id"] for row in emulator.state.rows("flows")] == flows
    if dag_id == "trifacta_copy_run_delete_flow":
        assert len(emulator.calls("copyFlow")) == len(emulator.calls("deleteFlow")) == 1


def test_a_failure_says_why_in_the_task_log(airflow: AirflowInstance) -> None:
    _start(airflow, "fails")
    assert airflow.end_of("fails", "test") == "failed"
    log = airflow.task_log("fails", "test")
    assert "Column 'order_date' not found in the source" in log
    assert "/jobs/" in log
    assert "Task failed with exception TrifactaJobGroupFailed, see above" in log
    assert log.count("Column 'order_date' not found in the source") == 1
    assert "Traceback" not in log
    assert "error_detail" not in log


def test_a_refusal_is_logged_in_lines_and_each_once(airflow: AirflowInstance, emulator: Emulator) -> None:
    airflow.set_connection(
        "wrong_token", conn_type="trifacta", host=emulator.url, password="not-a-token-of-anybody"
    )
    airflow.set_connection("no_host", conn_type="trifacta", password="not-a-token-of-anybody")
    expected = {
        "no_such_recipe": [
            "There is no wrangledDatasets 4712).",
            "Check wrangled_dataset_id",
            "Nothing was started",
        ],
        "wrong_token": ["401 UnauthorizedException", "The token was not accepted"],
        "no_host": ["Airflow connection 'no_host': host: missing.", "Enter the base URL of the server"],
    }
    for dag_id in expected:
        _start(airflow, dag_id)
    for dag_id, sentences in expected.items():
        assert airflow.end_of(dag_id, "test") == "failed"
        log = airflow.task_log(dag_id, "test")
        assert [log.count(sentence) for sentence in sentences] == [1] * len(sentences), log
        assert len([line for line in log.splitlines() if any(s in line for s in sentences)]) == len(sentences), log
        assert "see above" in log
        assert "Traceback" not in log
        assert "error_detail" not in log


@pytest.mark.parametrize("dag_id", ["deadline_sync", "deadline_deferred"])
def test_the_deadline_cancels(airflow: AirflowInstance, emulator: Emulator, dag_id: str) -> None:
    known = _ids(emulator)
    _start(airflow, dag_id)
    row = _new_job_group(emulator, known)
    assert airflow.end_of(dag_id, "test") == "failed"
    wait_for(lambda: emulator.job_groups and row["status"] == "Canceled", "the job group goes on", seconds=20)
    assert len(_ids(emulator) - known) == 1


def test_a_person_clears_a_deferred_task(airflow: AirflowInstance, emulator: Emulator) -> None:
    known = _ids(emulator)
    _start(airflow, "endless_cleared")
    row = _new_job_group(emulator, known)
    wait_for(
        lambda: any(entry.path.endswith(f"/{row['id']}/status") for entry in emulator.journal),
        "the triggerer does not look",
        seconds=60,
    )
    airflow.airflow("tasks", "clear", "endless_cleared", "--yes")
    wait_for(lambda: emulator.job_groups and row["status"] == "Canceled", "the job group goes on", seconds=60)
    assert _new_job_group(emulator, known | {row["id"]})["status"] != "Complete"


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
    answer = airflow.api("POST", "/api/v2/connections/test", connections)
    assert answer["status"] is False
    assert "Check the base URL" in answer["message"]
