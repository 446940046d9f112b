"""DAGs that start when somebody else's run ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

import pytest
from airflow_instance import IS_AIRFLOW_3, AirflowInstance, wait_for
from packaging.version import Version

from airflow_provider_trifacta.api.client import TrifactaClient
from airflow_provider_trifacta.api.messages import Operation
from airflow_provider_trifacta.api.operations import run_flow, run_job_group
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.emulator import Emulator

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 has no triggers that start DAGs"),
]

EXAMPLE = "trifacta_when_a_run_ends"
FLOW = "flow_run_failed"
KEEPS_STATE = Version(version("apache-airflow")) >= Version("3.3")


def _switch(airflow: AirflowInstance, dag_id: str, *, on: bool) -> None:
    """Unpause or pause a DAG, and let Airflow begin or end its watchers now."""
    wait_for(
        lambda: airflow.rows("select 1 from serialized_dag where dag_id = ?", dag_id),
        f"DAG {dag_id} was not found",
        seconds=90,
    )
    airflow.api("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": not on})
    file_token = airflow.api("GET", f"/api/v2/dags/{dag_id}/details")["file_token"]
    airflow.api("PUT", f"/api/v2/parseDagFile/{quote(file_token, safe='')}")


@pytest.fixture(scope="module")
def watched(airflow: AirflowInstance) -> Iterator[AirflowInstance]:
    for dag_id in (EXAMPLE, FLOW):
        _switch(airflow, dag_id, on=True)
    yield airflow
    for dag_id in (EXAMPLE, FLOW):
        _switch(airflow, dag_id, on=False)


def _watchers(airflow: AirflowInstance) -> set[object]:
    table = "asset_watcher" if airflow.database.columns("asset_watcher") else "asset_trigger"  # before Airflow 3.2
    return {trigger for (trigger,) in airflow.rows(f"select trigger_id from {table}")}


def _somebody_runs(emulator: Emulator, token: str, operation: Operation[Any]) -> Any:
    with TrifactaClient(ClientSettings(emulator.url), token) as client:
        return client.send(operation)


def _job_group(emulator: Emulator, identity: int) -> dict[str, Any]:
    (row,) = [row for row in emulator.job_groups if row["id"] == identity]
    return row


def _payloads(airflow: AirflowInstance, asset: str) -> list[dict[str, Any]]:
    events = airflow.rows(
        "select asset_event.extra from asset_event join asset on asset.id = asset_id "
        "where name = ? order by asset_event.id",
        asset,
    )
    return [json.loads(str(extra))["payload"] for (extra,) in events]


def _events(airflow: AirflowInstance) -> Callable[[], list[int]]:
    """Return what returns the job groups that there have been events of since now."""
    earlier = len(_payloads(airflow, "orders"))
    return lambda: [payload["id"] for payload in _payloads(airflow, "orders")[earlier:]]


def _wait_until_watched(emulator: Emulator) -> None:
    """Wait for three more readings of the list."""
    before = len(emulator.calls("listJobLibrary"))
    wait_for(lambda: len(emulator.calls("listJobLibrary")) >= before + 3, "nothing is watched", seconds=60)


def _log_of_ended_runs(airflow: AirflowInstance, dag_id: str) -> str:
    runs = airflow.rows("select run_id from dag_run where dag_id = ? and state = 'success'", dag_id)
    return "\n".join(airflow.task_log(dag_id, str(run_id)) for (run_id,) in runs)


def test_a_dag_starts_when_somebody_elses_run_ends(watched: AirflowInstance, emulator: Emulator) -> None:
    person, token = emulator.add_person("ann@example.com")
    in_the_application = run_job_group(7, request_body_extra={"ranfrom": "ui"})
    _wait_until_watched(emulator)
    triggers = _watchers(watched)
    events = _events(watched)

    one = _somebody_runs(emulator, token, in_the_application)["id"]
    _somebody_runs(emulator, token, run_job_group(7))  # over the API
    broken = _somebody_runs(emulator, token, run_flow(304))["flowRunId"]
    wait_for(lambda: f"/jobs/{one}" in _log_of_ended_runs(watched, EXAMPLE), "no DAG was started", seconds=120)
    wait_for(lambda: _payloads(watched, "failed_flow_runs"), "no event of the flow", seconds=30)
    row = _job_group(emulator, one)
    assert row["creator"]["id"] == person
    assert f"Loading {row['_files'][0]}" in _log_of_ended_runs(watched, EXAMPLE)

    if KEEPS_STATE:
        stored = "select 1 from asset_state_store where value like ?"
        wait_for(lambda: watched.rows(stored, f'%"{one}"%'), "what was reported was not stored", seconds=30)
    watched.stop_component("triggerer")
    missed = _somebody_runs(emulator, token, in_the_application)["id"]
    wait_for(lambda: _job_group(emulator, missed)["status"] == "Complete", "", seconds=20)
    watched.start_component("triggerer")
    _wait_until_watched(emulator)
    two = _somebody_runs(emulator, token, in_the_application)["id"]
    wait_for(lambda: f"/jobs/{two}" in _log_of_ended_runs(watched, EXAMPLE), "no DAG was started", seconds=120)

    assert events() == ([one, missed, two] if KEEPS_STATE else [one, two])
    (failed,) = _payloads(watched, "failed_flow_runs")
    assert (failed["kind"], failed["id"], failed["status"]) == ("flow_run", broken, "Failed")
    # Airflow does not take the watchers for new ones when it parses the files again.
    assert _watchers(watched) == triggers


@pytest.mark.skipif(not KEEPS_STATE, reason="Before Airflow 3.3, triggers cannot store anything")
def test_a_triggerer_that_is_killed_loses_no_event(watched: AirflowInstance, emulator: Emulator) -> None:
    _, token = emulator.add_person("bob@example.com")
    in_the_application = run_job_group(7, request_body_extra={"ranfrom": "ui"})
    events = _events(watched)
    _wait_until_watched(emulator)
    one = _somebody_runs(emulator, token, in_the_application)["id"]
    wait_for(lambda: one in events(), "no event", seconds=60, every=0.1)
    # Airflow has just stored the event; that it was reported is not stored yet.
    watched.stop_component("triggerer", signal.SIGKILL)
    missed = _somebody_runs(emulator, token, in_the_application)["id"]
    wait_for(lambda: _job_group(emulator, missed)["status"] == "Complete", "", seconds=20)
    watched.start_component("triggerer")
    # Airflow gives the triggers to another triggerer once it has not heard of theirs for half a minute.
    wait_for(lambda: missed in events(), "no event of what ended meanwhile", seconds=180)
    two = _somebody_runs(emulator, token, in_the_application)["id"]
    wait_for(lambda: two in events(), "nothing is watched again", seconds=60)
    assert [*dict.fromkeys(events())] == [one, missed, two]
    assert [identity for identity in events() if identity != one] == [missed, two]
