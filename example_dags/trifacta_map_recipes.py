"""Run many recipes, one mapped task per recipe."""

from __future__ import annotations

import os
from datetime import datetime

from airflow import DAG

from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

RECIPES = os.environ.get("TRIFACTA_RECIPES", "7,11").split(",")

with DAG(
    dag_id="trifacta_map_recipes",
    schedule=None,
    start_date=datetime(2024, 1, 1),
    catchup=False,
    tags=["trifacta"],
) as dag:
    TrifactaRunJobGroupOperator.partial(
        task_id="run_recipe",
        deferrable=True,
        run_parameters={"region": "emea"},
        # Quotas are per user and minute, so start only a few at a time.
        max_active_tis_per_dagrun=8,
    ).expand(wrangled_dataset_id=RECIPES)
