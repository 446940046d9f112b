"""Asset events in a real Airflow: what it stores, and which DAGs start from them."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import pytest
from airflow_instance import IS_AIRFLOW_3, AirflowInstance, wait_for

from airflow_provider_trifacta.emulator import Emulator

pytestmark = pytest.mark.system

TABLE = "postgres://db.example.com:5432/analytics/analytics/orders"


def _out(recipe: int) -> str:
    return f"s3://example-bucket/orders/out_{recipe}.csv"


def _events(airflow: AirflowInstance, dag_id: str) -> dict[tuple[str, str], tuple[dict[str, Any], str | None]]:
    """Return the extra and the alias of each event that the run ``test`` has emitted, by task and URI."""
    query = """
        select source_task_id, uri, event.extra, alias.name
        from asset_event event
        join asset on asset.id = event.asset_id
        left join asset_alias_asset_event through on through.event_id = event.id
        left join asset_alias alias on alias.id = through.alias_id
        where source_dag_id = ? and source_run_id = 'test'
    """
    if not IS_AIRFLOW_3:
        query = query.replace("asset", "dataset")
    found = {}
    for task_id, uri, extra, alias in airflow.rows(query, dag_id):
        assert (task_id, uri) not in found
        found[str(task_id), str(uri)] = (json.loads(str(extra)), alias)
    return found


def _runs_from_assets(airflow: AirflowInstance, dag_id: str) -> set[str]:
    kind = "asset_triggered" if IS_AIRFLOW_3 else "dataset_triggered"
    query = "select run_id from dag_run where dag_id = ? and run_type = ?"
    return {str(run_id) for (run_id,) in airflow.rows(query, dag_id, kind)}


def test_a_dag_starts_from_what_a_run_wrote(airflow: AirflowInstance, emulator: Emulator) -> None:
    loads = "trifacta_load_outputs"
    known = _runs_from_assets(airflow, loads)
    airflow.trigger("trifacta_write_outputs", "test")
    assert airflow.end_of("trifacta_write_outputs", "test") == "success"
    job_group = airflow.xcoms("trifacta_write_outputs", "test")["run_recipe", "return_value"]
    extra = {
        "kind": "job_group",
        "id": job_group,
        "status": "Complete",
        "link": f"{emulator.url}/jobs/{job_group}",
        "file": _out(7),
    }
    assert _events(airflow, "trifacta_write_outputs") == {
        ("run_recipe", _out(7)): (extra, "trifacta_write_outputs/run_recipe")
    }
    wait_for(lambda: _runs_from_assets(airflow, loads) - known, f"{loads} did not start", seconds=60)
    (run_id,) = _runs_from_assets(airflow, loads) - known
    assert airflow.end_of(loads, run_id) == "success", airflow.task_log(loads, run_id)
    if not version("apache-airflow").startswith("3.0."):  # there, the first run that an alias starts has no events
        assert airflow.xcoms(loads, run_id)["load_outputs", "return_value"] == [_out(7)]


def test_airflow_stores_the_events_of_every_kind_of_task(airflow: AirflowInstance, emulator: Emulator) -> None:
    recipe = emulator.state.get("wrangledDatasets", 10)
    behaviour, recipe["_behaviour"] = recipe["_behaviour"], "complete"
    try:
        airflow.trigger("emits_assets", "test")
        assert airflow.end_of("emits_assets", "test") == "success", airflow.task_log("emits_assets", "test")
    finally:
        recipe["_behaviour"] = behaviour
    events = _events(airflow, "emits_assets")
    assert {key: alias for key, (_, alias) in events.items()} == {
        **{
            (mode, uri): alias
            for mode in ("sync", "deferred")
            for uri, alias in (
                (f"s3://example-bucket/reports/{mode}", None),
                (_out(10), f"emits_assets/{mode}"),
                (TABLE, f"emits_assets/{mode}"),
            )
        },
        ("mapped", _out(11)): "emits_assets/mapped",
        ("flow", _out(21)): "customers",
        ("flow", _out(22)): "customers",
    }
    for mode in ("sync", "deferred"):
        report, _ = events[mode, f"s3://example-bucket/reports/{mode}"]
        assert (report["kind"], report["status"], report["files"]) == ("job_group", "Complete", [_out(10)])
        assert [table["uri"] for table in report["tables"]] == [TABLE]
        assert {extra["id"] for (task, _), (extra, _) in events.items() if task == mode} == {report["id"]}
    started = "starts_from_assets"
    wait_for(lambda: _runs_from_assets(airflow, started), f"{started} did not start", seconds=60)
    assert len(_runs_from_assets(airflow, started)) == 1
