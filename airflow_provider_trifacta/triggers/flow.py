"""Waiting for a flow run in the triggerer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_trifacta.api.runs.flow_run import FLOW_RUNS
from airflow_provider_trifacta.api.runs.kind import RunRef
from airflow_provider_trifacta.api.runs.waiting import DEFAULT_POLL_INTERVAL, DEFAULT_UNKNOWN_STATUS_TIMEOUT
from airflow_provider_trifacta.connection import DEFAULT_CONN_ID
from airflow_provider_trifacta.triggers.run import RunTrigger


class TrifactaFlowRunTrigger(RunTrigger):
    """Waits until a flow run ends, and never starts one.

    :param flow_run_id: the flow run.
    :param flow_id: the flow, for links; None when unknown.
    :param job_group_ids: the job groups that the answer to its start named.

    For the other arguments see :class:`~airflow_provider_trifacta.triggers.run.RunTrigger`.
    """

    def __init__(
        self,
        flow_run_id: int | str = "",
        flow_id: int | str | None = None,
        job_group_ids: Sequence[int] = (),
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
            FLOW_RUNS,
            RunRef(flow_run_id, tuple(job_group_ids), flow_id),
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
        return {
            "flow_run_id": self.ref.id,
            "flow_id": self.ref.subject_id,
            "job_group_ids": list(self.ref.parts),
        }
