"""Refresh the OAuth 2.0 token pair of a connection every two minutes, as Alteryx One needs it.

The connection ``trifacta_default`` has ``oauth_client_id``, ``oauth_token_url`` and ``token_variable`` in its
extra, and a refresh token has been pasted into that Variable. Works on Airflow 2.11 and 3.1 or later. Unpause the
DAG once both exist. It needs a free worker slot every two minutes, also while other tasks wait for a token.
"""

from __future__ import annotations

from datetime import datetime

from airflow import DAG

from airflow_provider_trifacta.operators.access_token import TrifactaRefreshOAuthTokenOperator

with DAG(
    dag_id="trifacta_keep_oauth_token",
    schedule="*/2 * * * *",
    start_date=datetime(2024, 1, 1),
    catchup=False,
    max_active_runs=1,
    # No dagrun_timeout and no execution_timeout: a task with a new pair that cannot be stored yet must go on.
    is_paused_upon_creation=True,
    tags=["trifacta"],
) as dag:
    TrifactaRefreshOAuthTokenOperator(
        task_id="refresh",
        trifacta_conn_id="trifacta_default",
        # The next run is the retry. Waiting for a retry would hold it up.
        retries=0,
    )
