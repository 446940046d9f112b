"""Run a copy of a flow, so that edits do not change what runs, and delete the copy however the run ends."""

from __future__ import annotations

import os
from datetime import datetime

from airflow import DAG

from airflow_provider_trifacta.operators.flow import (
    TrifactaCopyFlowOperator,
    TrifactaDeleteFlowOperator,
    TrifactaRunFlowOperator,
)

FLOW = os.environ.get("TRIFACTA_FLOW", "302")

with DAG(
    dag_id="trifacta_copy_run_delete_flow",
    schedule=None,
    start_date=datetime(2024, 1, 1),
    catchup=False,
    tags=["trifacta"],
) as dag:
    copy = TrifactaCopyFlowOperator(
        task_id="copy_flow",
        flow_id=FLOW,
        # A unique name for each DAG run, by which the copy is found if the answer is lost.
        name=f"Copy of flow {FLOW} for {{{{ run_id }}}}",
    )
    run = TrifactaRunFlowOperator(task_id="run_copy", flow_id=copy.output, deferrable=True, retries=2)
    delete = TrifactaDeleteFlowOperator(task_id="delete_copy", flow_id=copy.output, retries=2)
    # A teardown also runs after a failure, and does not turn the DAG run green then.
    copy >> run >> delete.as_teardown(setups=copy)
