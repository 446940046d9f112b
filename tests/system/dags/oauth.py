"""A keeper of an OAuth 2.0 token pair, one that dies, and tasks that use the access token."""

import os
import signal
import time
from datetime import datetime, timedelta

from airflow import DAG
from airflow.exceptions import AirflowFailException

from airflow_provider_trifacta.exceptions import TrifactaRefreshError
from airflow_provider_trifacta.operators.access_token import TrifactaRefreshOAuthTokenOperator
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

COMMON = {"schedule": None, "start_date": datetime(2024, 1, 1), "catchup": False}
KEEPER = {"trifacta_conn_id": "trifacta_oauth", "take_over_after": timedelta(seconds=10)}


class KeepsFor(TrifactaRefreshOAuthTokenOperator):
    """Refreshes for a number of seconds, one time after the other, as the runs of a DAG do."""

    def execute(self, context):
        until = time.monotonic() + float(context["dag_run"].conf.get("seconds", 0))
        while True:
            try:
                result = super().execute(context)
            except TrifactaRefreshError as error:  # on a busy machine, one may give up in time for the next
                if time.monotonic() > until or isinstance(error, AirflowFailException):
                    raise
                time.sleep(1)
                continue
            if time.monotonic() > until:
                return result


class DiesAfterTheAnswer(TrifactaRefreshOAuthTokenOperator):
    """Is killed once the refresh token is spent, before the new pair is stored."""

    def execute(self, context):
        from airflow_provider_trifacta.api.token_endpoint import TokenEndpoint

        refresh = TokenEndpoint.refresh

        def refresh_and_die(*args, **kwargs):
            refresh(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        TokenEndpoint.refresh = refresh_and_die
        return super().execute(context)


with DAG(dag_id="keep_oauth_token", **COMMON):
    KeepsFor(task_id="refresh", **KEEPER)

with DAG(dag_id="keep_oauth_token_and_die", **COMMON):
    DiesAfterTheAnswer(task_id="refresh", **KEEPER)

READERS = int(os.environ["OAUTH_READERS"])

for mode, number in {"deferred": READERS - READERS // 4, "sync": READERS // 4, "all_deferred": READERS}.items():
    with DAG(dag_id=f"use_oauth_{mode}", max_active_tasks=30, **COMMON):
        TrifactaRunJobGroupOperator.partial(
            task_id="run",
            trifacta_conn_id="trifacta_oauth",
            deferrable=mode != "sync",
            poll_interval=2,
        ).expand(wrangled_dataset_id=[7] * number)
