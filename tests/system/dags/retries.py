"""Tasks that are retried by cause, that tell of their failure, and mapped tasks whose items have names."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from airflow import DAG

from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

try:
    from airflow.sdk import task

    AIRFLOW_3 = True
except ImportError:
    from airflow.decorators import task

    AIRFLOW_3 = False


def tell(context: Any) -> None:
    """Log what a callback knows of a failure."""
    error = context["exception"]
    jobs = "; ".join(str(job) for job in error.failed_jobs)
    logging.getLogger("airflow.task").info("Told of %s: %s [%s]", context["ti"].task_id, jobs, error.link)


with DAG("tells", schedule=None, start_date=datetime(2024, 1, 1), default_args={"on_failure_callback": tell}):
    TrifactaRunJobGroupOperator(task_id="sync", wrangled_dataset_id=8, poll_interval=1)
    TrifactaRunJobGroupOperator(task_id="deferred", wrangled_dataset_id=8, poll_interval=1, deferrable=True)

ITEMS = [
    {"wrangled_dataset_id": 7, "run_parameters": {"region": "emea", "limit": 5}},
    {"wrangled_dataset_id": "{{ 7 }}"},
    {"wrangled_dataset_id": 7, "run_parameters": {"region": "apac"}},
    {"wrangled_dataset_id": 21},
]

with DAG("named_items", schedule=None, start_date=datetime(2024, 1, 1)):
    # Airflow 2 runs one task at a time here.
    TrifactaRunJobGroupOperator.partial(
        task_id="run", deferrable=True, poll_interval=1, retries=2, pool="two_at_a_time"
    ).expand_kwargs(ITEMS if AIRFLOW_3 else ITEMS[:2])

try:
    from airflow_provider_trifacta.retry_policy import FailedJobRule, TrifactaRetryPolicy
except ImportError:  # Airflow before 3.3
    pass
else:
    with DAG(
        "retried_by_cause",
        schedule=None,
        start_date=datetime(2024, 1, 1),
        default_args={"retries": 3, "retry_delay": timedelta(seconds=1), "retry_policy": TrifactaRetryPolicy()},
    ):
        for deferrable in (False, True):
            TrifactaRunJobGroupOperator(
                task_id=f"no_rule_{'deferred' if deferrable else 'sync'}",
                wrangled_dataset_id=8,
                poll_interval=1,
                deferrable=deferrable,
                retry_policy=TrifactaRetryPolicy(retry_failed_jobs=[FailedJobRule(type="publish")]),
            )
        TrifactaRunJobGroupOperator(
            task_id="rule",
            wrangled_dataset_id=8,
            poll_interval=1,
            retries=1,
            retry_policy=TrifactaRetryPolicy(retry_failed_jobs=[FailedJobRule(message="order_date")]),
        )

        @task
        def refused() -> str:
            return TrifactaHook().get_job_group_status(4712)

        @task(retries=1, retry_delay=timedelta(hours=1))
        def asked_to_wait() -> str:
            return TrifactaHook(retry_budget=0).get_flow(302)["name"]

        refused()
        asked_to_wait()
