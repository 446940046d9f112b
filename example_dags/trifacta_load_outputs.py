"""Run a recipe, and load what it wrote in another DAG, which starts when it has been written."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

try:
    from airflow.sdk import DAG, AssetAlias, task
except ImportError:  # Airflow 2.11
    from airflow import DAG
    from airflow.datasets import DatasetAlias as AssetAlias
    from airflow.decorators import task

from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

RECIPE = os.environ.get("TRIFACTA_RECIPE", "7")

with DAG(
    dag_id="trifacta_write_outputs",
    schedule=None,
    start_date=datetime(2024, 1, 1),
    catchup=False,
    tags=["trifacta"],
) as write:
    TrifactaRunJobGroupOperator(
        task_id="run_recipe",
        wrangled_dataset_id=RECIPE,
        deferrable=True,
        retries=2,
        emit_output_assets=True,
    )

with DAG(
    dag_id="trifacta_load_outputs",
    # The alias of a task is named after its DAG and the task. Each file and table that the run wrote is an asset.
    schedule=[AssetAlias("trifacta_write_outputs/run_recipe")],
    start_date=datetime(2024, 1, 1),
    catchup=False,
    tags=["trifacta"],
) as load:

    @task
    def load_outputs(**context: Any) -> list[str]:
        """Return what was loaded."""
        events_are = "triggering_asset_events"
        started_by = context[events_are if events_are in context else "triggering_dataset_events"]  # Airflow 2.11
        events = {event.extra["file"]: event for found in started_by.values() for event in found}
        for file, event in events.items():
            print(f"Loading {file}, which {event.extra['link']} wrote")  # noqa: T201
        return sorted(events)

    load_outputs()
