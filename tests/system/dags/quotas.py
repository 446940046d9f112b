"""Many deferrable tasks that start runs at once, and one task that has nothing to do with them."""

import os
from datetime import datetime

from airflow import DAG

from airflow_provider_trifacta.airflow_support.compat import BaseOperator
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

COMMON = {"schedule": None, "start_date": datetime(2024, 1, 1), "catchup": False}
STARTS = int(os.environ["QUOTA_STARTS"])

for conn_id in ("trifacta_quota", "trifacta_paced"):
    with DAG(dag_id=f"start_many_{conn_id}", max_active_tasks=STARTS, **COMMON):
        TrifactaRunJobGroupOperator.partial(
            task_id="run", trifacta_conn_id=conn_id, deferrable=True, poll_interval=5, retries=2
        ).expand(wrangled_dataset_id=[7] * STARTS)

with DAG(dag_id="unrelated", **COMMON):

    class Something(BaseOperator):
        """Does next to nothing."""

        def execute(self, context):
            return "done"

    Something(task_id="task")
