"""A real Airflow in which processes are killed with -9 and people clear tasks: one job group, and the truth."""

from __future__ import annotations

import signal
from importlib.metadata import version
from typing import Any

import pytest
from airflow_instance import IS_AIRFLOW_3, AirflowInstance, wait_for
from packaging.version import Version
from support import new_recipe

from airflow_provider_trifacta.emulator import Emulator

pytestmark = pytest.mark.system

#: Airflow 3.0 to 3.2 has no place for notes.
HAS_NOTES = not IS_AIRFLOW_3 or Version(version("apache-airflow")).release >= (3, 3)
POINTS = ["before_submit", "before_note", *(["after_note"] if HAS_NOTES else []), "mid_poll", "after_last_poll"]
# On Airflow 2 with SQLite tasks run one after another, each for many seconds.
DAGS = (
    [
        *(f"killed_{point}_sync" for point in POINTS),
        *(f"killed_{point}_deferred" for point in POINTS if point != "mid_poll"),
        "killed_before_note_sync_with_supervisor",
        "killed_mid_poll_sync_with_supervisor",
    ]
    if IS_AIRFLOW_3
    else ["killed_before_note_sync", "killed_mid_poll_sync", "killed_before_note_deferred"]
)


def test_a_worker_that_is_killed_anywhere(airflow: AirflowInstance, emulator: Emulator) -> None:
    recipes = {dag_id: new_recipe(emulator) for dag_id in DAGS}
    for dag_id, recipe in recipes.items():
        airflow.trigger(dag_id, "kill", {"recipe": recipe})
    for dag_id in DAGS:
        airflow.end_of(dag_id, "kill", seconds=300)
    for dag_id, recipe in recipes.items():
        log = airflow.task_log(dag_id, "kill")
        assert airflow.run_state(dag_id, "kill") == "success", log
        # At least once: a task may also lose its worker to the kill of another's.
        assert airflow.try_numbers(dag_id, "kill")["run"] >= 2, log
        (row,) = [row for row in emulator.job_groups if row["wrangledDataset"]["id"] == recipe]
        assert row["status"] == "Complete"
        assert airflow.xcoms(dag_id, "kill")["run", "return_value"] == row["id"]
    if not HAS_NOTES:
        return
    table, column = ("task_state_store", "key") if IS_AIRFLOW_3 else ("log", "event")
    noted = airflow.rows(f"select distinct dag_id from {table} where {column} = 'trifacta_job_group'")
    assert {dag_id for (dag_id,) in noted} >= set(DAGS)


def _reads(emulator: Emulator, job_group_id: int) -> int:
    return sum(entry.path == f"/v4/jobGroups/{job_group_id}/status" for entry in emulator.journal)


def _started_by(
    airflow: AirflowInstance, emulator: Emulator, known: set[int], dag_id: str, run_id: str
) -> dict[str, Any]:
    """Return the one new job group, once its task looks at it."""
    try:
        wait_for(lambda: {row["id"] for row in emulator.job_groups} - known, "nothing was started", seconds=90)
        (row,) = [row for row in emulator.job_groups if row["id"] not in known]
        wait_for(lambda: _reads(emulator, row["id"]) > 1, "nobody looks at the job group", seconds=90)
    except TimeoutError as error:
        raise TimeoutError(f"{error}; the log is:\n{airflow.task_log(dag_id, run_id)}") from None
    return row


@pytest.mark.parametrize(
    ("component", "number"),
    [("triggerer", signal.SIGTERM), ("triggerer", signal.SIGKILL), ("scheduler", signal.SIGKILL)],
)
def test_a_component_that_dies_changes_nothing(
    airflow: AirflowInstance, emulator: Emulator, component: str, number: signal.Signals
) -> None:
    recipe, run_id = new_recipe(emulator), f"{component}-{number.name}"
    emulator.change_settings(pace="seconds=20")
    try:
        known = {row["id"] for row in emulator.job_groups}
        airflow.trigger("any_recipe_deferred", run_id, {"recipe": recipe})
        row = _started_by(airflow, emulator, known, "any_recipe_deferred", run_id)
        airflow.stop_component(component, number)
        airflow.start_component(component)
        wait_for(lambda: airflow.run_state("any_recipe_deferred", run_id) == "success", "no success", seconds=150)
    finally:
        emulator.change_settings(pace="seconds=2")
    assert {row["id"] for row in emulator.job_groups} - known == {row["id"]}
    assert not any(entry.path.endswith(f"/{row['id']}/cancel") for entry in emulator.journal)


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="through the REST API of Airflow 3")
@pytest.mark.parametrize("dag_id", ["endless_sync", "endless_deferred"])
@pytest.mark.parametrize("act", ["clear", "mark-failed"])
def test_a_person_ends_a_task_that_waits(
    airflow: AirflowInstance, emulator: Emulator, dag_id: str, act: str
) -> None:
    known = {row["id"] for row in emulator.job_groups}
    airflow.trigger(dag_id, act)
    row = _started_by(airflow, emulator, known, dag_id, act)
    if act == "clear":
        body = {"dry_run": False, "dag_run_id": act, "task_ids": ["run"], "only_failed": False}
        airflow.api("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", body)
    else:
        _mark_failed(airflow, dag_id, act)
    wait_for(lambda: emulator.job_groups and row["status"] == "Canceled", "the job group goes on", seconds=90)
    started = {row["id"] for row in emulator.job_groups} - known
    if act == "clear":
        second = _started_by(airflow, emulator, known | {row["id"]}, dag_id, act)
        assert second["status"] != "Canceled"
        started.add(second["id"])
        _mark_failed(airflow, dag_id, act)
        wait_for(lambda: emulator.job_groups and second["status"] == "Canceled", "it goes on", seconds=90)
    assert {row["id"] for row in emulator.job_groups} - known == started


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="through the REST API of Airflow 3")
def test_a_person_ends_a_task_whose_submit_is_repeated(airflow: AirflowInstance, emulator: Emulator) -> None:
    known = {row["id"] for row in emulator.job_groups}
    submits = len(emulator.calls("runJobGroup"))
    emulator.order("runJobGroup", "rate_limit", call=None)
    try:
        airflow.trigger("endless_sync", "repeated")
        wait_for(lambda: len(emulator.calls("runJobGroup")) > submits, "nothing is submitted", seconds=90)
        _mark_failed(airflow, "endless_sync", "repeated")
        # From within the task, before Airflow kills it for good.
        wait_for(
            lambda: "TrifactaTaskKilled" in airflow.task_log("endless_sync", "repeated"),
            "the submit goes on",
            seconds=60,
        )
        submits = len(emulator.calls("runJobGroup"))
    finally:
        emulator.clear_faults()
    assert len(emulator.calls("runJobGroup")) == submits
    assert {row["id"] for row in emulator.job_groups} == known


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="through the REST API of Airflow 3")
def test_many_tasks_that_a_person_ends_together(airflow: AirflowInstance, emulator: Emulator) -> None:
    """Airflow cancels the triggers again at every sync, which a cancel that takes longer must outlive."""
    known = {row["id"] for row in emulator.job_groups}

    def started() -> list[dict[str, Any]]:
        return [row for row in emulator.job_groups if row["id"] not in known]

    airflow.trigger("endless_many", "together")
    wait_for(lambda: sum(_reads(emulator, row["id"]) > 1 for row in started()) == 10, "not all wait", seconds=120)
    emulator.order("cancelJobGroup", "delay", seconds=1, call=None)
    emulator.order("cancelJobGroup", "status", status=503, times=10)
    try:
        airflow.api("PATCH", "/api/v2/dags/endless_many/dagRuns/together", {"state": "failed"})
        wait_for(lambda: all(row["status"] == "Canceled" for row in started()), "", seconds=40)
    except TimeoutError:
        left = sum(row["status"] != "Canceled" for row in started())
        raise TimeoutError(f"{left} of {len(started())} were left running") from None
    finally:
        emulator.clear_faults()


def _mark_failed(airflow: AirflowInstance, dag_id: str, run_id: str) -> None:
    path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/run"
    airflow.api("PATCH", path, {"new_state": "failed"})
