"""Run every output of a flow, and wait in the triggerer until all of its job groups are complete."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow import DAG

from airflow_provider_trifacta.operators.flow import TrifactaRunFlowOperator

# The number after "/flows/" in the URL of the flow. 302 is a flow of the emulator.
FLOW = os.environ.get("TRIFACTA_FLOW", "302")

with DAG(
    dag_id="trifacta_run_flow",
    schedule=None,
    start_date=datetime(2024, 1, 1),
    catchup=False,
    params={"region": "emea"},
    tags=["trifacta"],
) as dag:
    TrifactaRunFlowOperator(
        task_id="run_flow",
        flow_id=FLOW,
        run_parameters={"region": "{{ params.region }}"},
        # By the name of the recipe in the flow.
        overrides={"Customers clean": {"profiler": True}},
        deferrable=True,
        # All job groups that are still active are canceled if it takes longer.
        execution_timeout=timedelta(hours=2),
        retries=2,
    )
