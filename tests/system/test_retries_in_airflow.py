"""Retries by cause, failure callbacks, names of mapped items, and a pool that counts deferred tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version
from typing import Any

import pytest
from airflow_instance import IS_AIRFLOW_3, AirflowInstance, wait_for
from packaging.version import Version

from airflow_provider_trifacta.emulator import Emulator

pytestmark = pytest.mark.system

HAS_POLICIES = Version(version("apache-airflow")) >= Version("3.3")
NAMES = ["recipe 7, region=emea, limit=5", "recipe 7", "recipe 7, region=apac", "recipe 21"]
NAMES = NAMES if IS_AIRFLOW_3 else NAMES[:2]


@pytest.fixture(scope="module", autouse=True)
def earlier(airflow: AirflowInstance, emulator: Emulator) -> Iterator[set[int]]:
    """Run all DAGs at once, since each mostly waits. Returns the job groups from before."""
    known = {row["id"] for row in emulator.job_groups}
    airflow.airflow("pools", "set", "two_at_a_time", "2", "of the tests", "--include-deferred")
    emulator.change_settings(pace="seconds=5")
    emulator.order("getFlow", "rate_limit", headers={"x-retry-after": "2"})
    for dag_id in ("named_items", "tells", *(("retried_by_cause",) if HAS_POLICIES else ())):
        airflow.trigger(dag_id, "test")
    yield known
    emulator.clear_faults()
    emulator.change_settings(pace="seconds=2")


def test_items_have_names_and_a_pool_counts_deferred_ones(
    airflow: AirflowInstance, emulator: Emulator, earlier: set[int]
) -> None:
    if IS_AIRFLOW_3:
        # Airflow 2 renders them only at the end.
        wait_for(lambda: set(NAMES) & set(_names(airflow, "deferred")), "no name is shown", seconds=60)
    assert airflow.end_of("named_items", "test") == "success", airflow.task_log("named_items", "test")
    assert sorted(_names(airflow, "success")) == sorted(NAMES)
    # The other DAGs run recipe 8.
    runs = [row for row in emulator.job_groups if row["id"] not in earlier and row["wrangledDataset"]["id"] != 8]
    assert len(runs) == len(NAMES)
    assert _most_at_once(runs) <= 2


@pytest.mark.skipif(not HAS_POLICIES, reason="Airflow before 3.3")
def test_retries_by_cause(airflow: AirflowInstance, emulator: Emulator) -> None:
    assert airflow.end_of("retried_by_cause", "test") == "failed"
    ends = {
        task: (state, airflow.try_numbers("retried_by_cause", "test")[task])
        for task, state in airflow.task_states("retried_by_cause", "test").items()
    }
    log = airflow.task_log("retried_by_cause", "test")
    assert ends == {
        "no_rule_sync": ("failed", 1),
        "no_rule_deferred": ("failed", 1),
        "rule": ("failed", 2),
        "refused": ("failed", 1),
        "asked_to_wait": ("success", 2),
    }, log
    for reason in (
        "No rule of retry_failed_jobs matches this: wrangle job",
        "A rule of retry_failed_jobs matches this: wrangle job",
        "Another try would be refused again: GET /v4/jobGroups/4712/status: 404",
        "Waiting 2 s, as the server asks (429)",
    ):
        assert reason in log


def test_a_callback_learns_why(airflow: AirflowInstance, emulator: Emulator) -> None:
    assert airflow.end_of("tells", "test") == "failed"
    log = airflow.task_log("tells", "test")
    for task in ("sync", "deferred"):
        told = re.findall(rf"Told of {task}: (.*?) \[(.*?)\]", log)
        assert len(told) == 1, log
        assert re.search("wrangle job [0-9]+ Failed: Column 'order_date' not found", told[0][0])
        assert told[0][1].startswith(f"{emulator.url}/jobs/")


def _names(airflow: AirflowInstance, state: str) -> list[str]:
    """Return the names of the items in a state, as Airflow shows them."""
    if not IS_AIRFLOW_3:
        shown = airflow.rows(
            "select rendered_map_index from task_instance where dag_id = 'named_items' and state = ?", state
        )
        return [str(name) for (name,) in shown]
    found = airflow.api("GET", "/api/v2/dags/named_items/dagRuns/test/taskInstances")["task_instances"]
    return [str(ti["rendered_map_index"]) for ti in found if ti["state"] == state]


def _most_at_once(runs: list[dict[str, Any]]) -> int:
    spans = [tuple(datetime.fromisoformat(row[key]) for key in ("createdAt", "updatedAt")) for row in runs]
    return max(sum(began <= moment < ended for began, ended in spans) for moment, _ in spans)
