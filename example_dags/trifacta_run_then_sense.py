"""Start a recipe now, do something else, and wait for its job group with the sensor."""

from __future__ import annotations

import os
from datetime import datetime

from airflow import DAG

from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor

RECIPE = os.environ.get("TRIFACTA_RECIPE", "7")

with DAG(
    dag_id="trifacta_run_then_sense",
    schedule=None,
    start_date=datetime(2024, 1, 1),
    catchup=False,
    tags=["trifacta"],
) as dag:
    start = TrifactaRunJobGroupOperator(
        task_id="start_recipe",
        wrangled_dataset_id=RECIPE,
        wait_for_completion=False,
    )
    TrifactaJobGroupSensor(
        task_id="wait_for_recipe",
        job_group_id=start.output,
        mode="reschedule",
        poke_interval=10,
        timeout=2 * 60 * 60,
    )
