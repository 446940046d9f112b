"""Run a plan, with a parameter for one of its nodes, and wait for it in the triggerer."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow import DAG

from airflow_provider_trifacta.operators.plan import TrifactaRunPlanOperator

# The number after "/plans/" in the URL of the plan. 89 is a plan of the emulator.
PLAN = os.environ.get("TRIFACTA_PLAN", "89")

with DAG(
    dag_id="trifacta_run_plan",
    schedule=None,
    start_date=datetime(2024, 1, 1),
    catchup=False,
    params={"region": "emea"},
    tags=["trifacta"],
) as dag:
    TrifactaRunPlanOperator(
        task_id="run_plan",
        plan_id=PLAN,
        # By the handle of the node.
        run_parameters={"flow-1": {"region": "{{ params.region }}"}},
        deferrable=True,
        # The run is canceled if it takes longer.
        execution_timeout=timedelta(hours=4),
        retries=2,
    )
