"""Waiting for a plan run in the triggerer."""

from __future__ import annotations

from typing import Any

from airflow_provider_trifacta.api.runs.kind import RunRef
from airflow_provider_trifacta.api.runs.plan_run import PLAN_RUNS
from airflow_provider_trifacta.api.runs.waiting import DEFAULT_POLL_INTERVAL, DEFAULT_UNKNOWN_STATUS_TIMEOUT
from airflow_provider_trifacta.connection import DEFAULT_CONN_ID
from airflow_provider_trifacta.triggers.run import RunTrigger


class TrifactaPlanRunTrigger(RunTrigger):
    """Waits until a plan run ends, and never starts one.

    :param plan_snapshot_run_id: the plan run.
    :param plan_id: the plan; None when unknown.

    For the other arguments see :class:`~airflow_provider_trifacta.triggers.run.RunTrigger`.
    """

    def __init__(
        self,
        plan_snapshot_run_id: int | str = "",
        plan_id: int | str | None = None,
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
            PLAN_RUNS,
            RunRef(plan_snapshot_run_id, subject_id=plan_id),
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

    def _names_of_run(self) -> dict[str, Any]:
        return {"plan_snapshot_run_id": self.ref.id, "plan_id": self.ref.subject_id}
