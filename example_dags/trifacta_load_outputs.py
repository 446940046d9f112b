"""Run a recipe, and load what it wrote in another DAG, which starts when it has been written."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

try:
    from airflow.sdk import DAG, AssetAlias, task

    EVENTS = "triggering_asset_events"
except ImportError:  # Airflow 2.11
    from airflow import DAG
    from airflow.datasets import DatasetAlias as AssetAlias
    from airflow.decorators import task

    EVENTS = "triggering_dataset_events"

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
        events = {event.extra["file"]: event for found in context[EVENTS].values() for event in found}
        for file, event in events.items():
            print(f"Loading {file}, which {event.extra['link']} wrote")  # noqa: T201
        return sorted(events)

    load_outputs()
