"""Waiting for a job group in the triggerer."""

from __future__ import annotations

from typing import Any

from airflow_provider_trifacta.api.runs.job_group import JOB_GROUPS
from airflow_provider_trifacta.api.runs.kind import RunRef
from airflow_provider_trifacta.api.runs.waiting import DEFAULT_POLL_INTERVAL, DEFAULT_UNKNOWN_STATUS_TIMEOUT
from airflow_provider_trifacta.connection import DEFAULT_CONN_ID
from airflow_provider_trifacta.triggers.run import RunTrigger


class TrifactaJobGroupTrigger(RunTrigger):
    """Waits until a job group ends, and never starts one.

    :param job_group_id: the job group.

    For the other arguments see :class:`~airflow_provider_trifacta.triggers.run.RunTrigger`.
    """

    def __init__(
        self,
        job_group_id: int | str = "",
        trifacta_conn_id: str = DEFAULT_CONN_ID,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        unknown_status_timeout: float = DEFAULT_UNKNOWN_STATUS_TIMEOUT,
        deadline: float | None = None,
        retry_budget: float | None = None,
        cancel_on_kill: bool = False,
        cancel_at_deadline: bool = False,
        began: float | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(
            JOB_GROUPS,
            RunRef(job_group_id),
            trifacta_conn_id=trifacta_conn_id,
            poll_interval=poll_interval,
            unknown_status_timeout=unknown_status_timeout,
            deadline=deadline,
            retry_budget=retry_budget,
            cancel_on_kill=cancel_on_kill,
            cancel_at_deadline=cancel_at_deadline,
            began=began,
            unknown=unknown,
        )
        self.job_group_id = job_group_id
