"""Pass parameters to a run, and settings of the output that apply to this run only."""

from __future__ import annotations

import os
from datetime import datetime

from airflow import DAG

from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

RECIPE = os.environ.get("TRIFACTA_RECIPE", "7")

with DAG(
    dag_id="trifacta_parameters",
    schedule=None,
    start_date=datetime(2024, 1, 1),
    catchup=False,
    params={"region": "emea", "reference_date": "2024-03-01T06:00:00Z"},
    tags=["trifacta"],
) as dag:
    TrifactaRunJobGroupOperator(
        task_id="run_for_region",
        wrangled_dataset_id=RECIPE,
        run_parameters={"region": "{{ params.region }}"},
        # What "now" means in the date-time parameters of the recipe.
        reference_date="{{ params.reference_date }}",
        overrides={
            "execution": "photon",
            "profiler": True,
            "writesettings": [
                {
                    "path": "s3://example-bucket/orders/{{ params.region }}.csv",
                    "action": "create",
                    "format": "csv",
                    "header": True,
                    "asSingleFile": True,
                }
            ],
        },
        request_body_extra={"forceCacheUpdate": True},
        poll_interval=10,
    )
