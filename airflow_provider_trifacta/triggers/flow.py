"""Waiting for a flow run in the triggerer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_trifacta.api.runs.flow_run import FLOW_RUNS
from airflow_provider_trifacta.api.runs.kind import RunRef
from airflow_provider_trifacta.triggers.run import RunTrigger


class TrifactaFlowRunTrigger(RunTrigger):
    """Waits until a flow run ends, and never starts one.

    :param flow_run_id: the flow run.
    :param flow_id: the flow, for links; None when unknown.
    :param job_group_ids: the job groups named in the answer to its start.
    :param options: see :class:`~airflow_provider_trifacta.triggers.run.RunTrigger`.
    """

    def __init__(
        self,
        flow_run_id: int | str = "",
        *,
        flow_id: int | str | None = None,
        job_group_ids: Sequence[int] = (),
        **options: Any,
    ) -> None:
        super().__init__(FLOW_RUNS, RunRef(flow_run_id, tuple(job_group_ids), flow_id), **options)

    def _names_of_run(self) -> dict[str, Any]:
        return {
            "flow_run_id": self.ref.id,
            "flow_id": self.ref.subject_id,
            "job_group_ids": list(self.ref.parts),
        }
