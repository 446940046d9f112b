"""Many tasks whose runs end a few seconds after the deferral."""

import os
from datetime import datetime, timedelta

from airflow import DAG

from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

NUMBER = int(os.environ.get("SHORT_TASKS", "0"))

if NUMBER:
    with DAG(
        dag_id="many_short_deferred",
        schedule=None,
        start_date=datetime(2024, 1, 1),
        catchup=False,
        max_active_tasks=NUMBER,
        default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},
    ):
        TrifactaRunJobGroupOperator.partial(task_id="run", deferrable=True, poll_interval=1).expand(
            wrangled_dataset_id=[7] * NUMBER
        )
