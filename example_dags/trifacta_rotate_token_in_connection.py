"""Rotate the API access token that is the password of a connection, on Airflow 3, where tasks cannot write it.

The connection ``airflow_api`` points to Airflow's own API server: its host, and login and password of a user who
may edit connections. Unpause the DAG once both connections exist. On Airflow 2.11 the task writes the connection
itself.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow import DAG

from airflow_provider_trifacta.operators.access_token import TrifactaRotateApiAccessTokenOperator

with DAG(
    dag_id="trifacta_rotate_token_in_connection",
    schedule="@daily",
    start_date=datetime(2024, 1, 1),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    tags=["trifacta"],
) as dag:
    TrifactaRotateApiAccessTokenOperator(
        task_id="rotate",
        trifacta_conn_id="trifacta_default",
        airflow_api_conn_id="airflow_api",
        lifetime_seconds=30 * 24 * 60 * 60,
        # Checks daily, rotates a week before the token expires.
        rotate_when_remaining=timedelta(days=7),
        keep_previous_for=timedelta(hours=6),
        retries=2,
    )
