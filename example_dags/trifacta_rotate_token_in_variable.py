"""Rotate the API access token of a connection weekly, kept in an Airflow Variable.

The connection ``trifacta_rotated`` has ``{"token_variable": "trifacta_api_access_token"}`` in its extra, and the
first token as its password. Works on Airflow 2.11 and 3.1 or later. Unpause the DAG once the connection exists.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow import DAG

from airflow_provider_trifacta.operators.access_token import TrifactaRotateApiAccessTokenOperator

with DAG(
    dag_id="trifacta_rotate_token_in_variable",
    schedule="@weekly",
    start_date=datetime(2024, 1, 1),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    tags=["trifacta"],
) as dag:
    TrifactaRotateApiAccessTokenOperator(
        task_id="rotate",
        trifacta_conn_id="trifacta_rotated",
        lifetime_seconds=30 * 24 * 60 * 60,
        keep_previous_for=timedelta(hours=6),
        retries=2,
    )
