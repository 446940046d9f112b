"""What OpenLineage's integration sends of the tasks of a real Airflow."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow_instance import AirflowInstance, wait_for
from chromium import PICTURES
from drawn_lineage import draw_event

from airflow_provider_trifacta.emulator import Emulator

pytestmark = pytest.mark.system
pytest.importorskip("airflow.providers.openlineage", reason="OpenLineage is not installed: extra openlineage")

BUCKET = "s3://example-bucket"


def _names(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(dataset["namespace"], dataset["name"]) for dataset in datasets]


def test_each_task_sends_what_it_read_and_wrote(airflow: AirflowInstance, emulator: Emulator) -> None:
    airflow.trigger("lineage", "test")
    assert airflow.end_of("lineage", "test", seconds=240) == "failed"
    states = airflow.task_states("lineage", "test")
    assert states == {
        "complete_sync": "success",
        "complete_deferred": "success",
        "fail_sync": "failed",
        "fail_deferred": "failed",
    }, airflow.task_log("lineage", "test")

    def ended() -> dict[str, dict[str, Any]]:
        lines = (airflow.home.parent / "lineage.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        # OpenLineage is told of no other DAG, except by Airflow's API server, when a user marks a task.
        others = {event["job"]["name"].partition(".")[0] for event in events} - {"lineage"}
        assert all(dag_id.startswith("endless_") for dag_id in others), others
        own = [event for event in events if event["job"]["name"].startswith("lineage.")]
        wanted = [event for event in own if event["eventType"] in ("COMPLETE", "FAIL")]
        # Airflow may report a failed task twice, once without asking its operator: 3.0 always does, later versions
        # when the scheduler gives a try up that was good (apache/airflow 66374).
        wanted.sort(key=lambda event: "trifacta_run" in event["run"]["facets"])
        return {event["job"]["name"].partition(".")[2]: event for event in wanted}

    def all_have_ended() -> bool:
        return set(states) <= {name for name, event in ended().items() if "trifacta_run" in event["run"]["facets"]}

    wait_for(all_have_ended, "an event is missing", seconds=60)
    events = ended()
    for mode in ("sync", "deferred"):
        complete, fail = events[f"complete_{mode}"], events[f"fail_{mode}"]
        assert (complete["eventType"], fail["eventType"]) == ("COMPLETE", "FAIL")
        assert _names(complete["inputs"]) == [(BUCKET, "raw/orders_7.csv")]
        assert _names(complete["outputs"]) == [(BUCKET, "orders/out_7.csv")]
        facet = complete["run"]["facets"]["trifacta_run"]
        assert facet["kind"] == "job_group"
        assert facet["link"] == f"{emulator.url}/jobs/{facet['id']}"
        assert facet["subject"] == 'recipe "Orders clean" (7) of flow "Orders nightly" (301)'
        assert _names(fail["inputs"]) == [(BUCKET, "raw/orders_8.csv")]
        assert fail["outputs"] == []
        (job,) = fail["run"]["facets"]["trifacta_run"]["failedJobs"]
        reason = "Column 'order_date' not found in the source"
        assert reason in job["message"]
        assert reason in fail["run"]["facets"]["errorMessage"]["message"]
        for event in (complete, fail):
            # Airflow writes these two itself.
            assert event["job"]["facets"]["jobType"]["jobType"] == "TASK"
            assert event["run"]["facets"]["processing_engine"]["name"] == "Airflow"
            assert emulator.token not in json.dumps(event)
    if PICTURES:
        draw_event(events["complete_deferred"], "lineage-event")
