"""Run a recipe and wait for it in the triggerer, without holding a worker."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow import DAG

from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

# The number after "recipe=" in the URL of the flow. 7 is a recipe of the emulator.
RECIPE = os.environ.get("TRIFACTA_RECIPE", "7")

with DAG(
    dag_id="trifacta_run_and_wait",
    schedule=None,
    start_date=datetime(2024, 1, 1),
    catchup=False,
    tags=["trifacta"],
) as dag:
    TrifactaRunJobGroupOperator(
        task_id="run_recipe",
        wrangled_dataset_id=RECIPE,
        deferrable=True,
        # The job group is canceled if it takes longer.
        execution_timeout=timedelta(hours=2),
        retries=2,
    )
