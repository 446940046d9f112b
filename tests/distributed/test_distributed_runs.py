"""Exactly one job group for each task, and nothing canceled but by users, in a distributed Airflow."""

from __future__ import annotations

import os
import signal

import pytest
from airflow_instance import AirflowInstance, wait_for
from batch import Batch
from distribution import TRIGGERERS, WORKERS

from airflow_provider_trifacta.emulator import Emulator

pytestmark = pytest.mark.distributed

#: A pace at which no job group ends by itself.
ENDLESS = "seconds=100000"
USUAL = "seconds=2"


def test_each_task_has_one_job_group_whatever_gets_lost(airflow: AirflowInstance, emulator: Emulator) -> None:
    for call, kind, options in (
        (2, "reset", {"after": True}),
        (4, "status", {"status": 503}),
        (6, "html", {"status": 502, "after": True}),
        (8, "cut", {"after": True}),
        (11, "reset", {}),
        (13, "status", {"status": 500, "after": True}),
        (15, "rate_limit", {}),
        (18, "reset", {"after": True}),
    ):
        emulator.order("runJobGroup", kind, call=call, **options)
    for operation in ("getJobGroupStatus", "listJobLibrary"):
        for call in range(3, 60, 9):
            emulator.order(operation, "status", status=502, call=call)
            emulator.order(operation, "reset", call=call + 4)
    try:
        batch = Batch(airflow, emulator, "lossy", sync=12, deferred=12)
        batch.assert_one_complete_job_group_each()
    finally:
        emulator.clear_faults()
    assert set(batch.hosts("success")) == set(WORKERS)
    batch.assert_nothing_was_canceled()


def test_a_worker_that_is_lost_while_tasks_start_and_wait(airflow: AirflowInstance, emulator: Emulator) -> None:
    emulator.change_settings(pace=ENDLESS)
    # Long enough for tasks to be in the middle of their submit when the worker is lost.
    emulator.order("runJobGroup", "delay", seconds=2, after=True, call=None)
    lost, other = WORKERS
    try:
        batch = Batch(airflow, emulator, "lost-worker", sync=3, deferred=12)
        wait_for(
            lambda: len(batch.job_groups) >= batch.size // 2 and batch.hosts("running")[lost] >= 2,
            "the worker has no tasks",
            seconds=300,
        )
        airflow.stop_component(lost, signal.SIGKILL)
        try:
            killed = {
                (dag_id, index)
                for dag_id, index, host, state in batch.tasks("dag_id, map_index, hostname, state")
                if (host, state) == (lost, "running")
            }
            emulator.clear_faults()
            wait_for(batch.started, "not all tasks have started a job group", seconds=300)
            emulator.change_settings(pace=USUAL)
            batch.assert_one_complete_job_group_each()
        finally:
            airflow.start_component(lost)
    finally:
        emulator.clear_faults()
        emulator.change_settings(pace=USUAL)
    batch.assert_nothing_was_canceled()
    again = {
        (dag_id, index): host
        for dag_id, index, host, tries in batch.tasks("dag_id, map_index, hostname, try_number")
        if tries > 1
    }
    assert killed
    assert {task: again.get(task) for task in killed} == dict.fromkeys(killed, other)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_triggerer_hands_its_waits_over(
    airflow: AirflowInstance, emulator: Emulator, number: signal.Signals
) -> None:
    emulator.change_settings(pace=ENDLESS)
    try:
        batch = Batch(airflow, emulator, f"hand-over-{number.name}", deferred=12)
        batch.wait_until_all_wait()
        ((stopped, held),) = batch.triggerers().most_common(1)
        (other,) = set(TRIGGERERS) - {stopped}
        airflow.stop_component(stopped, number)
        try:
            wait_for(
                lambda: batch.triggerers() == {other: batch.size}, f"{stopped} still holds {held}", seconds=120
            )
            emulator.change_settings(pace=USUAL)
            batch.assert_one_complete_job_group_each()
        finally:
            airflow.start_component(stopped)
    finally:
        emulator.change_settings(pace=USUAL)
    batch.assert_nothing_was_canceled()
    assert {tries for (tries,) in batch.tasks("try_number")} == {1}


def test_a_triggerer_that_was_suspended_and_lost_its_waits(airflow: AirflowInstance, emulator: Emulator) -> None:
    """When it goes on, Airflow stops its triggers in the same way as when a user ends their tasks."""
    emulator.change_settings(pace=ENDLESS)
    try:
        batch = Batch(airflow, emulator, "suspended", deferred=12)
        batch.wait_until_all_wait()
        wait_for(lambda: batch.read_in_triggerers() == batch.size, "not all are read in a triggerer", seconds=120)
        ((suspended, held),) = batch.triggerers().most_common(1)
        (other,) = set(TRIGGERERS) - {suspended}
        processes = airflow.processes(suspended)
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            wait_for(lambda: batch.triggerers() == {other: batch.size}, "they are not taken over", seconds=120)
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)
        wait_for(
            lambda: airflow.task_log("run_deferred", batch.name).count("the wait continues elsewhere") >= held,
            "its triggers are not stopped",
            seconds=120,
        )
        emulator.change_settings(pace=USUAL)
        batch.assert_one_complete_job_group_each()
    finally:
        emulator.change_settings(pace=USUAL)
    batch.assert_nothing_was_canceled()


def test_a_user_ends_tasks_wherever_they_wait(airflow: AirflowInstance, emulator: Emulator) -> None:
    emulator.change_settings(pace=ENDLESS)
    try:
        batch = Batch(airflow, emulator, "ended", sync=4, deferred=12)
        batch.wait_in_both_triggerers()
        body = {"dry_run": False, "dag_run_id": batch.name, "task_ids": ["run"], "only_failed": False}
        cleared = {dag_id: {row["id"] for row in batch.job_groups_of(dag_id)} for dag_id in batch.recipes}
        for dag_id, identities in cleared.items():
            airflow.api("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", body)
            _are_canceled(batch, identities)
        wait_for(lambda: len(batch.job_groups) == 2 * batch.size, "not all were started again", seconds=300)
        for dag_id in batch.recipes:
            airflow.api("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{batch.name}", {"state": "failed"})
        _are_canceled(batch, {row["id"] for row in batch.job_groups})
    finally:
        emulator.change_settings(pace=USUAL)


def _are_canceled(batch: Batch, identities: set[int]) -> None:
    def left() -> set[int]:
        return {row["id"] for row in batch.job_groups if row["status"] != "Canceled"} & identities

    wait_for(lambda: not left(), "not all job groups are canceled", seconds=120)
