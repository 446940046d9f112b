"""Many tasks that start and wait, on workers and in triggerers."""

import os
from datetime import datetime, timedelta

from airflow import DAG

from airflow_provider_trifacta.airflow_support.compat import BaseOperator
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

COMMON = {"schedule": None, "start_date": datetime(2024, 1, 1), "catchup": False, "max_active_tasks": 100}
WAITS = int(os.environ["DISTRIBUTED_WAITS"])
#: To how many items Airflow maps a task at most, by default.
MOST_ITEMS = 1000


class Recipes(BaseOperator):
    """Returns the recipes that the run was triggered for."""

    def execute(self, context):
        return context["dag_run"].conf["recipes"]


for mode in ("sync", "deferred"):
    with DAG(dag_id=f"run_{mode}", **COMMON):
        TrifactaRunJobGroupOperator.partial(
            task_id="run",
            trifacta_conn_id="{{ dag_run.conf.get('conn_id', 'trifacta_default') }}",
            deferrable=mode == "deferred",
            poll_interval=2,
            retries=3,
            retry_delay=timedelta(seconds=1),
        ).expand(wrangled_dataset_id=Recipes(task_id="recipes").output)

with DAG(dag_id="wait_many", **{**COMMON, "max_active_tasks": WAITS}):
    for first in range(0, WAITS, MOST_ITEMS):
        TrifactaRunJobGroupOperator.partial(
            task_id=f"run_{first}", deferrable=True, trifacta_conn_id="trifacta_many", pool="held_back"
        ).expand(wrangled_dataset_id=[7] * min(MOST_ITEMS, WAITS - first))
