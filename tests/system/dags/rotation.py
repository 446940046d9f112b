"""Rotations, and waits that outlive them."""

import os
from datetime import datetime, timedelta

from airflow import DAG

from airflow_provider_trifacta.operators.access_token import TrifactaRotateApiAccessTokenOperator
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

COMMON = {"schedule": None, "start_date": datetime(2024, 1, 1), "catchup": False}

with DAG(dag_id="rotate", **COMMON):
    TrifactaRotateApiAccessTokenOperator(
        task_id="rotate",
        trifacta_conn_id="trifacta_rotated",
        airflow_api_conn_id="{{ dag_run.conf.get('airflow_api_conn_id') or '' }}",
        lifetime_seconds=86400,
        keep_previous_for=timedelta(0),
        revoke_others=True,
    )

WAITS = int(os.environ["ROTATED_WAITS"])

for mode, number in {"deferred": WAITS, "sync": 3, "one_deferred": 1}.items():
    with DAG(dag_id=f"outlive_rotations_{mode}", max_active_tasks=60, **COMMON):
        TrifactaRunJobGroupOperator.partial(
            task_id="run",
            trifacta_conn_id="trifacta_rotated",
            deferrable=mode != "sync",
            poll_interval=2,
        ).expand(wrangled_dataset_id=[7] * number)
